"""A SomaBrain that is deleted without its objects and created again adopts them, without an outage of its pods."""

from __future__ import annotations

import asyncio

from examples.kubectl import Object
from tests.e2e.support.brains import Brain
from tests.e2e.support.waiting import eventually


def owners(child: Object) -> list[str]:
    """Return the uids of an object's owners."""
    return [each["uid"] for each in child["metadata"].get("ownerReferences", ())]


async def test_orphaned_objects_are_adopted_without_outage(brain: Brain) -> None:
    """After `kubectl delete --cascade=orphan` the same Deployment belongs to the new resource, without an outage."""
    await asyncio.to_thread(brain.apply)
    await brain.ready()
    before = await asyncio.to_thread(brain.deployment)
    orphaning = ("delete", "sb", brain.name, "-n", brain.namespace, "--cascade=orphan")
    await asyncio.to_thread(brain.kubectl, *orphaning)
    await eventually(lambda: owners(brain.deployment()), lambda uids: uids == [], "the Deployment is not orphaned")
    async with brain.client() as client:
        await client.create_namespace("kept")
        await asyncio.to_thread(brain.apply)
        applied = asyncio.create_task(brain.ready())
        while not applied.done():
            await client.get_namespace("kept")
            await asyncio.sleep(0.2)
        await applied
    after = await asyncio.to_thread(brain.deployment)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert owners(after) == [(await asyncio.to_thread(brain.resource))["metadata"]["uid"]]
