"""A failed migration is recorded in the status, and an annotation requests the next attempt."""

from __future__ import annotations

import asyncio
from base64 import b64decode

from tests.e2e.support.brains import MIGRATION, Brain
from tests.e2e.support.waiting import eventually

WRONG = "wrong-owner"


def jobs(brain: Brain) -> set[str]:
    """Return the names of all Jobs."""
    return {job["metadata"]["name"] for job in brain.kubectl.get(brain.namespace, "jobs")["items"]}


def owner(secret: str) -> dict[str, object]:
    return {"database": {"secretRef": {"name": secret}}, "backoffLimit": 0}


async def test_failed_migration_is_retried_after_backoff_or_on_annotation(brain: Brain) -> None:
    """A failed migration is retried when it is due or annotated, even if its Job was deleted; no DSN is shown.

    With the correct Secret it is a different migration, which starts without a back-off.
    """
    original = await asyncio.to_thread(brain.kubectl.get, brain.namespace, "secret", MIGRATION)
    dsn = b64decode(original["data"]["owner-dsn"]).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": WRONG}}
    nowhere = {"owner-dsn": f"{dsn.rpartition('/')[0]}/nowhere"}
    await asyncio.to_thread(brain.kubectl.apply, brain.namespace, {**secret, "stringData": nowhere})
    await asyncio.to_thread(brain.apply, migration=owner(WRONG))
    await brain.until("Migrated", "False", "Attempt 1 failed")
    await brain.until("Degraded", "True", "nowhere")
    before = (await asyncio.to_thread(brain.resource))["status"]
    (failed,) = await asyncio.to_thread(jobs, brain)
    await asyncio.to_thread(brain.kubectl, "delete", "job", failed, "-n", brain.namespace)
    await asyncio.sleep(1)  # the operator has seen it go
    assert await asyncio.to_thread(jobs, brain) == set()
    assert (await asyncio.to_thread(brain.resource))["status"]["migration"] == before["migration"]
    retry = ("annotate", "sb", brain.name, "-n", brain.namespace, "somabrain.io/retry-migration=now")
    await asyncio.to_thread(brain.kubectl, *retry)
    await eventually(lambda: jobs(brain), lambda job_names: job_names == {f"{failed[:-1]}2"}, "it is not tried again")
    await brain.until("Migrated", "False", "Attempt 2 failed")
    whole = str((await asyncio.to_thread(brain.resource))["status"])
    assert "postgresql://" not in whole
    assert dsn.partition("@")[0].rpartition(":")[2] not in whole
    await asyncio.to_thread(brain.apply, migration=owner(MIGRATION))
    await brain.ready()
