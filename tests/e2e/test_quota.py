"""A quota that refuses pods is in the status with the cluster's message, and the spec can satisfy it."""

from __future__ import annotations

import asyncio

from tests.e2e.support.brains import MIGRATION, Brain

QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "small"},
    "spec": {"hard": {"limits.cpu": "4"}},
}
NOTICED_S = 20
LIMITED = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}}
SERVER = {"requests": {"cpu": "100m", "memory": "384Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}


async def test_cpu_quota_refusal_is_reported_and_satisfied_by_limits(brain: Brain) -> None:
    """Within 20 s the status has the cluster's message for the refused migration; limits in the spec let it serve."""
    await asyncio.to_thread(brain.kubectl.apply, brain.namespace, QUOTA)
    await asyncio.to_thread(brain.apply)
    stuck = await brain.until("Migrated", "False", "must specify limits.cpu for: migrate", timeout_s=NOTICED_S)
    assert stuck.reason == "Stuck"
    assert "spec.migration.resources" in stuck.message
    await asyncio.to_thread(brain.apply, migration=migration())
    stalled = await brain.until("Degraded", "True", "must specify limits.cpu for: opa,server")
    assert stalled.reason == "Stalled"
    await asyncio.to_thread(brain.apply, resources=SERVER, opa={"resources": LIMITED}, migration=migration())
    await brain.ready()


def migration() -> dict[str, object]:
    """Return the field of the spec with limits that the quota requires."""
    return {"database": {"secretRef": {"name": MIGRATION}}, "resources": LIMITED}
