"""Observation of all input of the plan."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from common.errors import SomaBrainError
from somabrain_operator.informer.store import ObjectStore
from somabrain_operator.kube import names
from somabrain_operator.kube.children import DATABASE, possible_children
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import EVENT, SECRET
from somabrain_operator.kube.names import MCP, SERVER, Key, child_name
from somabrain_operator.kube.objects import Manifest, items, mapping, text
from somabrain_operator.observe import pod_status
from somabrain_operator.observe.budgets import BudgetLister
from somabrain_operator.observe.events import KUBELET, latest_event, may_be_from, pod_refusal, waits_for_pod
from somabrain_operator.observe.parse import parse_brain
from somabrain_operator.observe.readiness_probe import ReadinessProbe
from somabrain_operator.observe.state import Brain, DatabaseInput, ObservedState, OtherBudgets
from somabrain_operator.references.catalog import Reference, references_of
from somabrain_operator.references.resolver import resolve
from somabrain_operator.references.tracked import TrackedReferences

_log = structlog.stdlib.get_logger(__name__)


async def observe(
    cluster: Cluster,
    store: ObjectStore,
    probe: ReadinessProbe,
    budgets: BudgetLister,
    tracked: TrackedReferences,
    key: Key,
    missing_kinds: frozenset[str],
) -> ObservedState | None:
    """Return the observed state of a SomaBrain, or None if it does not exist.

    Args:
        cluster: client for the objects that are not watched.
        store: the watched objects.
        probe: reads the readiness reports of pods.
        budgets: lists the PodDisruptionBudgets of others.
        tracked: records the references before they are read, so that no change of one is missed.
        key: the SomaBrain.
        missing_kinds: kinds that the API server does not serve.
    """
    manifest = store.get(names.KIND, *key)
    if manifest is None:
        return None
    brain, live_pods = parse_brain(key, manifest), store.list_for(key, "Pod")
    jobs = store.list_for(key, "Job")
    children = {each: store.get(each.kind, key.namespace, each.name) for each in possible_children(key.name)}
    tracked.expect(key, brain_references(brain))
    has_budget = brain.spec is not None and bool(
        brain.spec.pod_disruption_budget or (brain.spec.mcp and brain.spec.mcp.pod_disruption_budget)
    )
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
        other_budgets=await budgets.list(key.namespace) if has_budget else OtherBudgets(),
        database=await _database_input(cluster, brain),
    )


async def _database_input(cluster: Cluster, brain: Brain) -> DatabaseInput | None:
    """Return the input of the making of the database, or None if the spec has none made."""
    if brain.spec is None or brain.spec.database is None or brain.spec.database.provision is None:
        return None
    secret = await cluster.get(SECRET, brain.key.namespace, child_name(brain.key.name, DATABASE))
    return DatabaseInput(secret, tuple(secrets.token_hex(16) for _ in range(5)))


def brain_references(brain: Brain) -> tuple[Reference, ...]:
    """Return the references of a SomaBrain; empty if its spec is invalid."""
    return () if brain.spec is None else references_of(brain.spec)


async def _reports(
    cluster: Cluster, probe: ReadinessProbe, namespace: str, live_pods: tuple[Manifest, ...]
) -> Mapping[str, str]:
    """Return why running pods of servers and MCP server are not ready, by pod: their own report, or the kubelet's."""
    addresses = {
        pod_status.name_of(pod): text(pod, "status", "podIP")
        for pod in (*pod_status.of_component(live_pods, SERVER), *pod_status.of_component(live_pods, MCP))
        if not pod_status.is_ready(pod) and text(pod, "status", "podIP") and _is_running(pod)
    }
    reports = await asyncio.gather(*(_report(cluster, probe, namespace, *each) for each in addresses.items()))
    return {name: report for name, report in zip(addresses, reports, strict=True) if report}


def _is_running(pod: Manifest) -> bool:
    return any("running" in mapping(each, "state") for each in items(pod, "status", "containerStatuses"))


async def _report(cluster: Cluster, probe: ReadinessProbe, namespace: str, name: str, address: str) -> str:
    if report := await probe.fetch_reason(address):
        return report
    events = await _list_events(cluster, namespace, {"involvedObject.name": name, "reason": "Unhealthy"})
    return text(latest_event([each for each in events if may_be_from(each, KUBELET)]), "message")


async def _pod_refusals(
    cluster: Cluster, namespace: str, jobs: tuple[Manifest, ...], live_pods: tuple[Manifest, ...]
) -> Mapping[str, str]:
    """Return why the pods of Jobs are refused, by name of the Job: a quota or an admission policy may refuse them.

    The Job's own status does not show it; the Job controller records an event.
    """
    named_jobs = {text(job, "metadata", "name"): job for job in jobs}
    uids = {
        name: text(job, "metadata", "uid")
        for name, job in named_jobs.items()
        if waits_for_pod(job, pod_status.of_job(live_pods, name))
    }
    events = await asyncio.gather(
        *(_list_events(cluster, namespace, {"involvedObject.uid": uid}) for uid in uids.values())
    )
    return {name: refusal for name, each in zip(uids, events, strict=True) if (refusal := pod_refusal(each))}


async def _list_events(cluster: Cluster, namespace: str, fields: Mapping[str, str]) -> tuple[Manifest, ...]:
    """Return the events with these fields. A failure is only logged: events explain, and no step needs them."""
    try:
        return await cluster.list(EVENT, namespace, {}, fields)
    except SomaBrainError as exc:
        _log.warning("failed to list events", namespace=namespace, fields=dict(fields), error=exc.message)
        return ()
