"""A later release is rolled out only after its migration; neither a failed nor a successful one fails a call."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from examples.kubectl import Object
from somabrain_service.store import schema
from tests.e2e.conftest import Measured
from tests.e2e.support.brains import Brain
from tests.e2e.support.database import Database
from tests.e2e.support.images import release
from tests.e2e.support.writers import WriteLog, writing

MIGRATES_S = 8


def pods_by_readiness(pods: list[Object]) -> dict[str, bool]:
    """Return name and readiness of each pod."""
    return {
        pod["metadata"]["name"]: any(
            c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ())
        )
        for pod in pods
    }


async def test_failed_migration_does_not_affect_callers(
    brain: Brain, database: Database, own_database: str, measured: Measured
) -> None:
    """When a migration fails, Migrated=False gives the reason, and the old pods continue to serve."""
    image = await asyncio.to_thread(release, "e2e-fails", "Divide by zero", "SELECT 1 / 0")
    await asyncio.to_thread(brain.apply)
    await brain.ready()
    async with brain.client() as client:
        await client.create_namespace("log")
        async with writing(client, "log") as book:
            await book.wait_for_more(10)
            old = [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)]
            await asyncio.to_thread(brain.apply, image=image, migration=_migration(backoffLimit=0))
            condition = await brain.until("Migrated", "False", "division by zero", timeout_s=60)
            await brain.until("Degraded", "True", "division by zero")
            await brain.until("ConfigValid", "True", f"Whether {image} is older than")  # its tag is no SemVer
            await brain.until("Available", "True")
            await book.wait_for_more(10)
            assert [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)] == old
        assert book.failures == []
        assert await book.missing(client, "log") == []
    measured(f"the status said: {condition.message}")
    deployment = await asyncio.to_thread(brain.deployment)
    assert image not in str(deployment["spec"]["template"]["spec"])
    assert database.sql("SELECT current FROM schema_info", own_database) == str(schema.HEAD)


async def test_upgrade_fails_no_call(brain: Brain, database: Database, own_database: str, measured: Measured) -> None:
    """During a successful migration the old pods stay ready, then new ones take over, and no call fails."""
    sql = f"SELECT pg_sleep({MIGRATES_S}); ALTER TABLE memories ADD COLUMN e2e text"
    image = await asyncio.to_thread(release, "e2e-next", "Add a column", sql)
    await asyncio.to_thread(brain.apply)
    await brain.ready()
    async with brain.client() as client:
        await client.create_namespace("log")
        async with writing(client, "log") as book:
            await book.wait_for_more(10)
            before = replace(client.attempts)
            (old,) = [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)]
            await asyncio.to_thread(brain.apply, image=image)
            checks = await _stays_ready_while_migrating(brain, old)
            await brain.ready()
            (new,) = [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)]
            await _outlives(brain, old, book)
        missing = await book.missing(client, "log")
        unavailable = client.attempts.unavailable - before.unavailable
        attempts = client.attempts.attempts - before.attempts
    measured(
        f"the old pod was ready in all {checks} checks while the migration ran; {len(book.acknowledged)} calls, "
        f"{len(book.failures)} failures for the caller; {unavailable} of {attempts} attempts were UNAVAILABLE"
    )
    assert new != old
    assert missing == []
    assert book.failures == []
    assert database.sql("SELECT current FROM schema_info", own_database) == str(schema.HEAD + 1)
    status = (await asyncio.to_thread(brain.resource))["status"]
    assert status["version"] == status["targetVersion"] == image.rpartition(":")[2]


async def test_downgrade_is_refused_until_annotation_allows_it(
    brain: Brain, database: Database, own_database: str, measured: Measured
) -> None:
    """A downgrade is refused until the annotation names it; then the earlier release serves with the later schema."""
    await asyncio.to_thread(release, "9.0.0", "Add a column", "ALTER TABLE memories ADD COLUMN e2e text")
    await asyncio.to_thread(brain.apply)
    await brain.ready()
    before = (await asyncio.to_thread(brain.resource))["status"]["version"]
    async with brain.client() as client:
        await client.create_namespace("log")
        async with writing(client, "log") as book:
            await book.wait_for_more(10)
            await asyncio.to_thread(brain.apply, version="9.0.0")
            await brain.ready()
            assert database.sql("SELECT current FROM schema_info", own_database) == str(schema.HEAD + 1)
            await asyncio.to_thread(brain.apply, version=before)
            await brain.until("ConfigValid", "False", f"{before} is older than 9.0.0")
            await brain.until("Available", "True")
            await book.wait_for_more(10)
            allow = f"somabrain.io/allow-downgrade={before}"
            await asyncio.to_thread(
                brain.kubectl, "annotate", "sb", brain.name, "-n", brain.namespace, allow, "--overwrite"
            )
            await brain.ready()
            await book.wait_for_more(10)
        assert await book.missing(client, "log") == []
        assert book.failures == []
    assert (await asyncio.to_thread(brain.resource))["status"]["version"] == before
    measured(f"{len(book.acknowledged)} writes across an upgrade and the way back, none failed, none missing")


async def _stays_ready_while_migrating(brain: Brain, old: str) -> int:
    """Watch the old pod until Migrated is True again; return the number of checks, all of them ready."""
    checks, deadline = 0, time.monotonic() + 90
    while True:
        assert time.monotonic() < deadline, "the migration did not end within 90 s"
        pods = pods_by_readiness(await asyncio.to_thread(brain.pods))
        migrated = (await asyncio.to_thread(brain.conditions))["Migrated"]
        if migrated.current and migrated.status == "True":
            assert checks >= MIGRATES_S / 2, f"only {checks} looks"
            return checks
        assert pods == {old: True}, f"while the migration ran: {pods}"
        checks += 1
        await asyncio.sleep(0.2)


async def _outlives(brain: Brain, old: str, book: WriteLog) -> None:
    """Write until some time after the old pod is gone."""
    await asyncio.to_thread(
        brain.kubectl, "wait", "-n", brain.namespace, f"pod/{old}", "--for=delete", "--timeout=60s", timeout_s=70
    )
    await book.wait_for_more(20)


def _migration(**settings: object) -> dict[str, object]:
    return {"database": {"secretRef": {"name": "somabrain-migration"}}, **settings}
