"""Draining a node evicts one pod at a time without a failed call."""

from __future__ import annotations

import asyncio
import json

import pytest

from examples.kubectl import CommandFailed
from tests.e2e.support.brains import Brain
from tests.e2e.support.waiting import eventually
from tests.e2e.support.writers import writing

SOME_DAY = "poddisruptionbudgets,networkpolicies"


def evict(brain: Brain, pod: str) -> None:
    """Request an eviction, as `kubectl drain` does.

    Raises:
        CommandFailed: the eviction was refused.
    """
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": brain.namespace}}
    path = f"/api/v1/namespaces/{brain.namespace}/pods/{pod}/eviction"
    brain.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


async def until_allowed(brain: Brain) -> None:
    """Wait until the budget allows an eviction."""
    await eventually(
        lambda: brain.kubectl.get(brain.namespace, "pdb", f"{brain.name}-server")["status"],
        lambda now: now.get("disruptionsAllowed") == 1 and now["currentHealthy"] == 2,
        "no pod may go",
    )


def names(brain: Brain) -> list[str]:
    return [pod["metadata"]["name"] for pod in brain.pods()]


async def test_disruption_budget_allows_one_eviction_at_a_time(brain: Brain) -> None:
    """One pod is evicted without a failed call; the second may be evicted only when a new one is ready.

    Budget and NetworkPolicy select these pods, and are deleted when the spec no longer has them. Whether a
    NetworkPolicy is enforced depends on the cluster's network; the local one does not enforce it.
    """
    await asyncio.to_thread(brain.apply, replicas=2, podDisruptionBudget={}, networkPolicy={})
    await brain.until("Ready", "True", "2 of 2")
    objects = (await asyncio.to_thread(brain.kubectl.get, brain.namespace, SOME_DAY))["items"]
    first, second = await asyncio.to_thread(brain.pods)
    selected = {each["kind"]: each["spec"].get("selector") or each["spec"]["podSelector"] for each in objects}
    assert set(selected) == {"PodDisruptionBudget", "NetworkPolicy"}
    for selector in selected.values():
        assert selector["matchLabels"].items() <= first["metadata"]["labels"].items()
    first, second = (pod["metadata"]["name"] for pod in (first, second))
    async with brain.client() as client:
        await client.create_namespace("log")
        async with writing(client, "log") as book:
            await book.wait_for_more(10)
            await until_allowed(brain)
            await asyncio.to_thread(evict, brain, first)
            with pytest.raises(CommandFailed, match="would violate the pod's disruption budget"):
                await asyncio.to_thread(evict, brain, second)
            await eventually(
                lambda: names(brain), lambda now: len(now) == 2 and first not in now and second in now, "no new pod"
            )
            await until_allowed(brain)
            await asyncio.to_thread(evict, brain, second)
            await book.wait_for_more(20)
        assert book.failures == []
        assert await book.missing(client, "log") == []
    await asyncio.to_thread(brain.apply, replicas=2)
    await eventually(
        lambda: brain.kubectl.get(brain.namespace, SOME_DAY)["items"], lambda left: left == [], "they are not pruned"
    )
