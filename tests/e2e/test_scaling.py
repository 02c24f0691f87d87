"""An autoscaler takes over `replicas`, and returns it."""

from __future__ import annotations

import asyncio
import json

from tests.e2e.support.brains import Brain
from tests.e2e.support.waiting import eventually


def replicas_managers(brain: Brain) -> set[str]:
    """Return the managers of `replicas`."""
    words = ("get", "deployment", f"{brain.name}-server", "-n", brain.namespace, "-o", "json", "--show-managed-fields")
    fields = json.loads(brain.kubectl(*words))["metadata"]["managedFields"]
    return {each["manager"] for each in fields if "f:replicas" in each.get("fieldsV1", {}).get("f:spec", {})}


async def test_autoscaler_takes_over_and_returns_replicas_without_losing_pods(brain: Brain) -> None:
    """An autoscaler scales by its minimum and gives control back; without metrics Degraded reports it."""
    await asyncio.to_thread(brain.apply, replicas=1)
    await brain.ready()
    (first,) = await asyncio.to_thread(brain.pods)
    await asyncio.to_thread(brain.apply, replicas=1, autoscaling={"min": 1, "max": 3})
    await brain.until("Degraded", "True", "does not scale")
    await asyncio.to_thread(brain.apply, replicas=1, autoscaling={"min": 2, "max": 3})
    await brain.until("Ready", "True", "2 of 2")
    assert (await asyncio.to_thread(brain.deployment))["spec"]["replicas"] == 2
    assert await asyncio.to_thread(replicas_managers, brain) == {"kube-controller-manager"}
    assert first["metadata"]["name"] in [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)]
    await asyncio.to_thread(brain.apply, replicas=1)
    await eventually(
        lambda: brain.deployment()["spec"]["replicas"], lambda replicas: replicas == 1, "the spec does not decide again"
    )
    await brain.until("Ready", "True", "1 of 1")
    await brain.until("Degraded", "False")
