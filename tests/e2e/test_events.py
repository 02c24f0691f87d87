"""Each transition gives one event with the condition's message, and counts in the operator's metrics."""

from __future__ import annotations

import asyncio
from collections import Counter

from examples.kubectl import Kubectl
from tests.e2e.support.brains import Brain
from tests.e2e.support.operators import WRITES, OperatorPod, Release
from tests.e2e.support.waiting import eventually

QUIET_S = 3
BROKEN = {"image": "ghcr.io/somabrain/somabrain-service:no-such-tag", "migration": {"enabled": False}}
CREATION_EVENTS = Counter({"Normal Ready": 1})
TRANSITIONS = {
    "Succeeded": "Migrated",
    "PodsReady": "Available",
    "Serving": "Ready",
    "RollingOut": "Not ready",
    "PodsNotReady": "Degraded",
    "AsExpected": "Mended",
    "DriftPutBack": "Put back",
}
"""Which transition a reason tells of here."""


def count_events(brain: Brain) -> Counter[str]:
    """Count the events of the resource by type and transition."""
    of = ("--field-selector", f"involvedObject.kind=SomaBrain,involvedObject.name={brain.name}")
    events = brain.kubectl.get(brain.namespace, "events", *of)["items"]
    return Counter(f"{each['type']} {TRANSITIONS[each['reason']]}" for each in events for _ in range(each["count"]))


async def wait_for_events(brain: Brain, expected: Counter[str]) -> None:
    await eventually(lambda: count_events(brain), lambda now: now == expected, f"not told: {expected}", timeout_s=20)


async def test_each_transition_emits_one_event(brain: Brain, kubectl: Kubectl) -> None:
    """Creation, failure, recovery and a manual edit give one event each; an idle operator writes nothing."""
    (operator,) = await asyncio.to_thread(Release(kubectl).pods)
    await asyncio.to_thread(brain.apply)
    await brain.ready()
    await wait_for_events(brain, expected := CREATION_EVENTS)

    await asyncio.to_thread(brain.apply, **BROKEN)
    await brain.until("Degraded", "True", "no-such-tag")
    await wait_for_events(brain, expected := expected + Counter({"Warning Degraded": 1, "Normal Not ready": 1}))
    assert await condition_metrics(operator, brain) == {"Ready": 0, "Available": 1, "Degraded": 1, "Migrated": -1}

    await asyncio.to_thread(brain.apply)
    await brain.ready()
    mended = {"Normal Mended": 1, "Normal Ready": 1, "Normal Migrated": 1}  # as nobody looked while it was skipped
    await wait_for_events(brain, expected := expected + Counter(mended))
    assert await condition_metrics(operator, brain) == {"Ready": 1, "Available": 1, "Degraded": 0, "Migrated": 1}

    before = await asyncio.to_thread(operator.writes)
    await brain.edited_by_hand()
    await wait_for_events(brain, expected := expected + Counter({"Normal Put back": 1}))
    after = await asyncio.to_thread(operator.writes)
    added = {name.removeprefix(WRITES): after[name] - before.get(name, 0) for name in after}
    assert {name: more for name, more in added.items() if more} == {
        'kind="Service",verb="apply"}': 1,
        'kind="Event",verb="create"}': 1,
    }
    await asyncio.sleep(QUIET_S)
    assert await asyncio.to_thread(operator.writes) == after
    assert await asyncio.to_thread(count_events, brain) == expected


async def condition_metrics(operator: OperatorPod, brain: Brain) -> dict[str, float]:
    """Return the conditions of a resource from the operator's metrics."""
    metrics = await asyncio.to_thread(operator.metrics)
    of = f'somabrain_operator_condition{{name="{brain.name}",namespace="{brain.namespace}",type='
    return {kind: metrics[f'{of}"{kind}"}}'] for kind in ("Ready", "Available", "Degraded", "Migrated")}


async def test_operator_metrics_cover_reconciles_queue_writes_and_leader(served: Brain, kubectl: Kubectl) -> None:
    """The metrics have reconciles by outcome and duration, the queue, writes by kind, and the leader."""
    (operator,) = await asyncio.to_thread(Release(kubectl).pods)
    before = await asyncio.to_thread(operator.metrics)
    await served.edited_by_hand()
    metrics = await asyncio.to_thread(operator.metrics)
    for counted in (
        'reconciles_total{outcome="ok"}',
        "reconcile_duration_seconds_count",
        'api_writes_total{kind="Service",verb="apply"}',
    ):
        name = f"somabrain_operator_{counted}"
        assert metrics[name] > before.get(name, 0)
    assert metrics["somabrain_operator_leader"] == 1
    assert {"somabrain_operator_queue_depth", "somabrain_operator_queue_oldest_seconds"} <= metrics.keys()
