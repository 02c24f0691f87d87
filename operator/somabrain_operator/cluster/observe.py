"""Reads everything the plan is made from. Secrets are read by name, never listed."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from pydantic import ValidationError

from common.errors import PermissionDenied
from somabrain_operator import names, pods
from somabrain_operator.cache import Cache
from somabrain_operator.cluster.api import Cluster
from somabrain_operator.cluster.kinds import CHILDREN, CONFIG_MAP, EVENT, SECRET
from somabrain_operator.cluster.probe import ReadinessProbe
from somabrain_operator.hashing import secret_hash
from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.named import Reference, references_of
from somabrain_operator.names import SERVER, ChildId, Key, child_id
from somabrain_operator.observed import Brain, Observed, Resolved
from somabrain_operator.plan import Plan
from somabrain_operator.plan.children import possible_children
from somabrain_operator.tree import Manifest, items, mapping, number, text


async def observe(
    cluster: Cluster, cache: Cache, probe: ReadinessProbe, key: Key, lacking: frozenset[str]
) -> Observed | None:
    """Return what is to be seen of a SomaBrain now, or None when there is none.

    Args:
        cluster: what is asked for what no watch tells.
        cache: what the watches told.
        probe: what asks pods.
        key: which SomaBrain.
        lacking: kinds that the API server does not know.
    """
    found = cache.get(names.KIND, *key)
    if found is None:
        return None
    brain, seen = read_brain(key, found), cache.of(key, "Pod")
    children = {each: cache.get(each.kind, key.namespace, each.name) for each in possible_children(key.name)}
    return Observed(
        brain=brain,
        references=await resolve(cluster, brain.key, brain.uid, wanted_by(brain)),
        children={identity: live for identity, live in children.items() if live is not None},
        jobs=cache.of(key, "Job"),
        pods=seen,
        reports=await _reports(cluster, probe, key.namespace, seen),
        now=datetime.now(UTC),
        lacking=lacking,
    )


async def unseen(cluster: Cluster, plan: Plan) -> Mapping[ChildId, Manifest]:
    """Return what stands under the names of children that the plan is to make: only what has our label is watched."""
    wanted = [child_id(each) for each in plan.apply]
    asked = [each for each in wanted if each not in plan.observed.children and each.kind != "Job"]
    namespace = plan.owner.key.namespace
    found = await asyncio.gather(*(cluster.get(CHILDREN[each.kind], namespace, each.name) for each in asked))
    return {
        identity: {"kind": identity.kind, **live}
        for identity, live in zip(asked, found, strict=True)
        if live is not None
    }


def read_brain(key: Key, found: Manifest) -> Brain:
    """Return the resource; a spec that the model refuses is a finding and not a crash."""
    spec, problem = None, ""
    try:
        spec = SomaBrainSpec.model_validate(found.get("spec"))
    except ValidationError as exc:
        problem = " ".join(
            f"spec.{'.'.join(str(step) for step in each['loc'])}: {each['msg']}; correct or remove it."
            for each in exc.errors(include_url=False, include_input=False)
        )
    metadata = mapping(found, "metadata")
    return Brain(
        key=key,
        uid=text(metadata, "uid"),
        generation=number(metadata, "generation"),
        annotations={name: str(value) for name, value in mapping(metadata, "annotations").items()},
        spec=spec,
        problem=problem,
        status=mapping(found, "status"),
        deleting="deletionTimestamp" in metadata,
    )


def wanted_by(brain: Brain) -> tuple[Reference, ...]:
    """Return what a SomaBrain names; nothing where its spec cannot be read."""
    return () if brain.spec is None else references_of(brain.spec)


async def resolve(
    cluster: Cluster, key: Key, salt: str, wanted: Iterable[Reference], *, newest: bool = True
) -> tuple[Resolved, ...]:
    """Return Secrets and ConfigMaps as hashes of the keys that are used.

    Args:
        cluster: where they are.
        key: whose they are.
        salt: of the hashes, the SomaBrain's uid.
        wanted: which.
        newest: or, for less, as the API server last heard of them.
    """
    return tuple(await asyncio.gather(*(_resolve(cluster, key, salt, each, newest=newest) for each in wanted)))


async def _resolve(cluster: Cluster, key: Key, salt: str, reference: Reference, *, newest: bool) -> Resolved:
    kind = SECRET if reference.kind == "Secret" else CONFIG_MAP
    try:
        found = await cluster.get(kind, key.namespace, reference.name, newest=newest)
    except PermissionDenied as exc:
        return Resolved(reference, exists=False, refusal=exc.message)
    if found is None:
        return Resolved(reference, exists=False)
    contents = _contents(reference, found)
    return Resolved(
        reference,
        exists=True,
        digests={name: secret_hash(salt, content) for name, content in contents.items()},
        secrets=tuple(
            content.decode(errors="replace").strip() for content in contents.values() if reference.kind == "Secret"
        ),
    )


def _contents(reference: Reference, found: Manifest) -> dict[str, bytes]:
    """Return the used keys that hold something."""
    data = mapping(found, "data")
    endings = (reference.suffix, *reference.beside)
    used = reference.keys or tuple(name for name in sorted(data) if name.endswith(endings))
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
    cluster: Cluster, probe: ReadinessProbe, namespace: str, seen: tuple[Manifest, ...]
) -> Mapping[str, str]:
    """Return what the servers that run and are not ready say of themselves, or else what the kubelet said of them."""
    asked = {
        pods.name_of(pod): text(pod, "status", "podIP")
        for pod in pods.of_component(seen, SERVER)
        if not pods.is_ready(pod) and text(pod, "status", "podIP") and _runs(pod)
    }
    said = await asyncio.gather(*(_report(cluster, probe, namespace, *each) for each in asked.items()))
    return {name: words for name, words in zip(asked, said, strict=True) if words}


def _runs(pod: Manifest) -> bool:
    return any("running" in mapping(each, "state") for each in items(pod, "status", "containerStatuses"))


async def _report(cluster: Cluster, probe: ReadinessProbe, namespace: str, name: str, address: str) -> str:
    if words := await probe.ask(address):
        return words
    fields = {"involvedObject.name": name, "reason": "Unhealthy"}
    warnings = await cluster.list(EVENT, namespace, {}, fields)
    latest = max(warnings, key=lambda event: text(event, "lastTimestamp"), default=None)
    return text(latest, "message")
