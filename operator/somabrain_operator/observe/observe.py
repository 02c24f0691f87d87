"""Observation of all input of the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from somabrain_operator.informer.store import ObjectStore
from somabrain_operator.kube import names
from somabrain_operator.kube.children import possible_children
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import EVENT
from somabrain_operator.kube.names import SERVER, Key
from somabrain_operator.kube.objects import Manifest, condition, items, mapping, text
from somabrain_operator.observe import pod_status
from somabrain_operator.observe.parse import parse_brain
from somabrain_operator.observe.readiness_probe import ReadinessProbe
from somabrain_operator.observe.state import Brain, ObservedState
from somabrain_operator.references.catalog import Reference, references_of
from somabrain_operator.references.resolver import resolve


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
    brain, live_pods = parse_brain(key, manifest), store.list_for(key, "Pod")
    jobs = store.list_for(key, "Job")
    children = {each: store.get(each.kind, key.namespace, each.name) for each in possible_children(key.name)}
    return ObservedState(
        brain=brain,
        references=await resolve(cluster, brain.key, brain.uid, brain_references(brain)),
        children={identity: live for identity, live in children.items() if live is not None},
        jobs=jobs,
        pods=live_pods,
        reports=await _reports(cluster, probe, key.namespace, live_pods),
        now=datetime.now(UTC),
        missing_kinds=missing_kinds,
        pod_refusals=await _pod_refusals(cluster, key.namespace, jobs, live_pods),
    )


def brain_references(brain: Brain) -> tuple[Reference, ...]:
    """Return the references of a SomaBrain; empty if its spec is invalid."""
    return () if brain.spec is None else references_of(brain.spec)


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
    return text(_latest(await cluster.list(EVENT, namespace, {}, fields)), "message")


async def _pod_refusals(
    cluster: Cluster, namespace: str, jobs: tuple[Manifest, ...], live_pods: tuple[Manifest, ...]
) -> Mapping[str, str]:
    """Return why the pods of Jobs are refused, by name of the Job: a quota or an admission policy may refuse them.

    The Job's own status does not show it; the Job controller records an event.
    """
    pods = {text(job, "metadata", "name"): pod_status.of_job(live_pods, text(job, "metadata", "name")) for job in jobs}
    waiting = [
        job
        for job in jobs
        if text(condition(job, "Complete"), "status") != "True"
        and all(map(pod_status.is_terminated, pods[text(job, "metadata", "name")]))
    ]
    messages = await asyncio.gather(
        *(_pod_refusal(cluster, namespace, job, pods[text(job, "metadata", "name")]) for job in waiting)
    )
    names_of_jobs = (text(job, "metadata", "name") for job in waiting)
    return {name: message for name, message in zip(names_of_jobs, messages, strict=True) if message}


async def _pod_refusal(cluster: Cluster, namespace: str, job: Manifest, pods: list[Manifest]) -> str:
    """Return the Job controller's latest message of a refused pod, or an empty string if it created one since."""
    fields = {"involvedObject.uid": text(job, "metadata", "uid"), "reason": "FailedCreate"}
    latest = _latest(await cluster.list(EVENT, namespace, {}, fields))
    created = max((text(pod, "metadata", "creationTimestamp") for pod in pods), default="")
    return text(latest, "message").removeprefix("Error creating: ") if _occurred_at(latest) > created else ""


def _latest(events: tuple[Manifest, ...]) -> Manifest | None:
    return max(events, key=_occurred_at, default=None)


def _occurred_at(event: Manifest | None) -> str:
    """Return the time of an event's last occurrence, in ISO 8601: recorders of the newer API set other fields."""
    times = (("lastTimestamp",), ("series", "lastObservedTime"), ("eventTime",), ("metadata", "creationTimestamp"))
    return next((timestamp for path in times if (timestamp := text(event, *path))), "")
