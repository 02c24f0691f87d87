"""Observation of all input of the plan. Secrets are read by name, never listed."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from pydantic import ValidationError

from common.errors import PermissionDenied
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.informer.store import ObjectStore
from somabrain_operator.kube import names
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.hashing import secret_hash
from somabrain_operator.kube.kinds import CHILDREN, CONFIG_MAP, EVENT, SECRET
from somabrain_operator.kube.names import SERVER, ChildId, Key, child_id
from somabrain_operator.kube.objects import Manifest, items, mapping, number, text
from somabrain_operator.observe import pod_status
from somabrain_operator.observe.readiness_probe import ReadinessProbe
from somabrain_operator.observe.state import Brain, ObservedState, ResolvedReference
from somabrain_operator.plan import Plan
from somabrain_operator.plan.children import possible_children
from somabrain_operator.references.catalog import Reference, references_of


async def observe(
    cluster: Cluster, store: ObjectStore, probe: ReadinessProbe, key: Key, missing_kinds: frozenset[str]
) -> ObservedState | None:
    """Return the observed state of a SomaBrain, or None if it does not exist.

    Args:
        cluster: client for the objects that are not watched.
        store: the watched objects.
        probe: reads the readiness reports of pods.
        key: the SomaBrain.
        missing_kinds: kinds that the API server does not serve.
    """
    manifest = store.get(names.KIND, *key)
    if manifest is None:
        return None
    brain, live_pods = read_brain(key, manifest), store.list_for(key, "Pod")
    children = {each: store.get(each.kind, key.namespace, each.name) for each in possible_children(key.name)}
    return ObservedState(
        brain=brain,
        references=await resolve(cluster, brain.key, brain.uid, brain_references(brain)),
        children={identity: live for identity, live in children.items() if live is not None},
        jobs=store.list_for(key, "Job"),
        pods=live_pods,
        reports=await _reports(cluster, probe, key.namespace, live_pods),
        now=datetime.now(UTC),
        missing_kinds=missing_kinds,
    )


async def read_name_conflicts(cluster: Cluster, plan: Plan) -> Mapping[ChildId, Manifest]:
    """Return unwatched live objects under the names of children to apply: only those with our label are watched."""
    identities = [child_id(each) for each in plan.apply]
    unwatched = [each for each in identities if each not in plan.observed.children and each.kind != "Job"]
    namespace = plan.owner.key.namespace
    manifests = await asyncio.gather(*(cluster.get(CHILDREN[each.kind], namespace, each.name) for each in unwatched))
    return {
        identity: {"kind": identity.kind, **live}
        for identity, live in zip(unwatched, manifests, strict=True)
        if live is not None
    }


def read_brain(key: Key, manifest: Manifest) -> Brain:
    """Return the resource; for a spec that does not fit the model, with `problem` instead of a spec."""
    spec, problem = None, ""
    try:
        spec = SomaBrainSpec.model_validate(manifest.get("spec"))
    except ValidationError as exc:
        problem = " ".join(
            f"spec.{'.'.join(str(step) for step in each['loc'])}: {each['msg']}; correct or remove it."
            for each in exc.errors(include_url=False, include_input=False)
        )
    metadata = mapping(manifest, "metadata")
    return Brain(
        key=key,
        uid=text(metadata, "uid"),
        generation=number(metadata, "generation"),
        annotations={name: str(value) for name, value in mapping(metadata, "annotations").items()},
        spec=spec,
        problem=problem,
        status=mapping(manifest, "status"),
        deleting="deletionTimestamp" in metadata,
    )


def brain_references(brain: Brain) -> tuple[Reference, ...]:
    """Return the references of a SomaBrain; empty if its spec is invalid."""
    return () if brain.spec is None else references_of(brain.spec)


async def resolve(
    cluster: Cluster, key: Key, salt: str, references: Iterable[Reference], *, newest: bool = True
) -> tuple[ResolvedReference, ...]:
    """Read the referenced Secrets and ConfigMaps, and return hashes of the used keys.

    Args:
        cluster: client.
        key: the SomaBrain.
        salt: salt of the hashes: the SomaBrain's uid.
        references: the references to read.
        newest: False reads from the API server's watch cache, which is cheaper.
    """
    return tuple(await asyncio.gather(*(_resolve(cluster, key, salt, each, newest=newest) for each in references)))


async def _resolve(cluster: Cluster, key: Key, salt: str, reference: Reference, *, newest: bool) -> ResolvedReference:
    kind = SECRET if reference.kind == "Secret" else CONFIG_MAP
    try:
        manifest = await cluster.get(kind, key.namespace, reference.name, newest=newest)
    except PermissionDenied as exc:
        return ResolvedReference(reference, exists=False, refusal=exc.message)
    if manifest is None:
        return ResolvedReference(reference, exists=False)
    contents = _contents(reference, manifest)
    return ResolvedReference(
        reference,
        exists=True,
        digests={name: secret_hash(salt, content) for name, content in contents.items()},
        secrets=tuple(
            content.decode(errors="replace").strip() for content in contents.values() if reference.kind == "Secret"
        ),
    )


def _contents(reference: Reference, manifest: Manifest) -> dict[str, bytes]:
    """Return the contents of the used keys that are not empty."""
    data = mapping(manifest, "data")
    suffixes = (reference.suffix, *reference.optional_suffixes)
    used = reference.keys or tuple(name for name in sorted(data) if name.endswith(suffixes))
    contents = {}
    for name in used:
        value = text(data, name)
        try:
            content = base64.b64decode(value) if reference.kind == "Secret" else value.encode()
        except binascii.Error:
            continue
        if content.strip():
            contents[name] = content
    return contents


async def _reports(
    cluster: Cluster, probe: ReadinessProbe, namespace: str, live_pods: tuple[Manifest, ...]
) -> Mapping[str, str]:
    """Return why server pods that run are not ready, by pod: their own report, or else the kubelet's."""
    addresses = {
        pod_status.name_of(pod): text(pod, "status", "podIP")
        for pod in pod_status.of_component(live_pods, SERVER)
        if not pod_status.is_ready(pod) and text(pod, "status", "podIP") and _is_running(pod)
    }
    reports = await asyncio.gather(*(_report(cluster, probe, namespace, *each) for each in addresses.items()))
    return {name: report for name, report in zip(addresses, reports, strict=True) if report}


def _is_running(pod: Manifest) -> bool:
    return any("running" in mapping(each, "state") for each in items(pod, "status", "containerStatuses"))


async def _report(cluster: Cluster, probe: ReadinessProbe, namespace: str, name: str, address: str) -> str:
    if report := await probe.fetch_reason(address):
        return report
    fields = {"involvedObject.name": name, "reason": "Unhealthy"}
    warnings = await cluster.list(EVENT, namespace, {}, fields)
    latest = max(warnings, key=lambda event: text(event, "lastTimestamp"), default=None)
    return text(latest, "message")
