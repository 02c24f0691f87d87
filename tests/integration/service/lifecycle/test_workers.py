"""Background jobs in the serving process: they run in one process at a time and do not delay calls."""

from __future__ import annotations

import asyncio
import signal
import time
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from somabrain_client import MemoryClient
from somabrain_service.admin.embedded_postgres import EmbeddedDatabase
from somabrain_service.admin.migrate import migrate
from somabrain_service.background.runner import ACQUIRE_INTERVAL_S
from tests.integration.service.issuer import Issuer
from tests.integration.service.metrics import series
from tests.integration.service.namespaces import unique
from tests.integration.service.service_process import ServiceProcess, service
from tests.support.clones import Clone
from tests.support.waiting import WAIT_S, until

WORK = "expired-memories"


@pytest.fixture
def busy(settings: dict[str, object], database: Clone) -> dict[str, object]:
    """Settings of a service with background jobs, on a separate database."""
    return {
        **settings,
        "postgres_dsn": database.app_dsn,
        "worker_dsn": database.worker_dsn,
        "workers__sweep_interval_s": 0.2,
    }


def is_leader(running: ServiceProcess) -> bool:
    return series(running, f'somabrain_background_job_leader{{job="{WORK}",shard="0"}}') == 1


def rows(database: Clone) -> int:
    with psycopg.connect(database.owner_dsn) as owner:
        row = owner.execute("SELECT count(*) FROM memories").fetchone()
    assert row is not None
    return int(row[0])


async def short_lived(running: ServiceProcess, idp: Issuer, count: int) -> None:
    """Store memories that expire at once."""
    async with MemoryClient(running.address, token=idp.token("swept")) as client:
        namespace = (await client.create_namespace(unique())).name
        for number in range(count):
            await client.remember(namespace, f"short {number}", ttl=timedelta(milliseconds=1))


async def test_encoder_and_language_change_is_reindexed_online(
    folder: Path, busy: dict[str, object], database: Clone, idp: Issuer
) -> None:
    """A change from lexical recall in English to sentence vectors and German is reindexed without a restart."""
    chosen = {**busy, "encoder__kind": "minilm-l6-v2-int8", "workers__reindex_interval_s": 0.2}
    with service(folder, chosen) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("indexed")) as client:
            namespace = (await client.create_namespace(unique(), encoder="lexical")).name
            for number in range(40):
                await client.remember(namespace, f"In den Häusern spielten Kinder {number}")
            assert not (await client.recall(namespace, "ein Haus")).hits
            changed = await client.update_namespace(namespace, encoder="minilm-l6-v2-int8", language="de")
            assert (changed.encoder, changed.language) == ("minilm-l6-v2-int8", "de")
            ends_at = time.monotonic() + WAIT_S
            while True:
                statistics = (await client.get_namespace(namespace)).statistics
                assert statistics is not None
                assert time.monotonic() < ends_at, statistics
                if not statistics.unencoded_count and not statistics.unanalyzed_count:
                    break
            assert statistics.vector_count == 40
            answer = await client.recall(namespace, "ein Haus", explain=True)
            assert (len(answer.hits), answer.degraded, answer.encoder_id) == (10, (), "minilm-l6-v2-int8")
            first = answer.hits[0].breakdown
            assert first is not None
            assert min(first.dense, first.lexical) > 0
            assert series(running, 'somabrain_background_job_rows_total{job="reencoding"}') == 40
            assert series(running, 'somabrain_background_job_rows_total{job="reanalysis"}') == 40
            back = await client.update_namespace(namespace, language="", encoder="lexical")
            assert (back.encoder, back.language) == ("lexical", "en")


async def test_expired_memories_are_deleted_and_measured(
    folder: Path, busy: dict[str, object], database: Clone, idp: Issuer
) -> None:
    with service(folder, busy) as running:
        running.wait_until_ready()
        await short_lived(running, idp, 3)
        until(lambda: rows(database) == 0, "three expired memories are gone")
        until(lambda: series(running, f'somabrain_background_job_rows_total{{job="{WORK}"}}') == 3, "three are counted")
        assert series(running, f'somabrain_background_job_runs_total{{job="{WORK}",outcome="done"}}') > 0
        assert is_leader(running)


async def test_one_process_runs_background_jobs_and_its_death_hands_over(
    folder: Path, busy: dict[str, object], database: Clone, idp: Issuer
) -> None:
    with service(folder, busy) as first:
        first.wait_until_ready()
        until(lambda: is_leader(first), "the first process holds the work")
        with service(folder, busy) as second:
            second.wait_until_ready()
            await asyncio.sleep(ACQUIRE_INTERVAL_S + 1)  # by then it has tried
            assert is_leader(first)
            assert not is_leader(second)
            first.stop(signal.SIGKILL)
            until(lambda: is_leader(second), "the second process took over")
            await short_lived(second, idp, 2)
            until(lambda: rows(database) == 0, "the second process removes")


async def test_stopping_process_hands_over_jobs_before_draining(folder: Path, busy: dict[str, object]) -> None:
    with service(folder, {**busy, "grpc__shutdown_delay_s": 30}) as first:
        first.wait_until_ready()
        until(lambda: is_leader(first), "the first process holds the work")
        with service(folder, busy) as second:
            second.wait_until_ready()
            first.process.send_signal(signal.SIGTERM)
            until(lambda: is_leader(second), "the second process took over")
            assert first.process.poll() is None


async def test_background_jobs_resume_after_connection_loss(
    folder: Path, busy: dict[str, object], database: Clone, idp: Issuer
) -> None:
    with service(folder, busy) as running:
        running.wait_until_ready()
        until(lambda: is_leader(running), "the process holds the work")
        with psycopg.connect(database.superuser_dsn, autocommit=True) as superuser:
            superuser.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s AND usename = %s",
                [database.name, "somabrain_worker"],
            )
        running.wait_for_event("background job failed")
        await short_lived(running, idp, 2)
        until(lambda: rows(database) == 0, "the work goes on")
        assert running.process.poll() is None


async def test_missing_worker_dsn_is_logged_once_with_disabled_jobs(folder: Path, settings: dict[str, object]) -> None:
    with service(folder, settings) as running:
        running.wait_until_ready()
        (record,) = running.events("background jobs are disabled")
        assert WORK in str(record["off"])
        assert "SOMABRAIN_WORKER_DSN" in str(record["reason"])


async def test_background_jobs_wait_for_migration(
    folder: Path, settings: dict[str, object], database_server: EmbeddedDatabase, unmigrated: Clone
) -> None:
    """Background jobs do not touch a schema of another version, and start once it is migrated."""
    chosen = {**settings, "postgres_dsn": unmigrated.app_dsn, "worker_dsn": unmigrated.worker_dsn}
    with service(folder, chosen) as running:
        running.wait_until_ready(ready=False, containing="migrate")
        assert not is_leader(running)
        migrate(unmigrated.owner_dsn, database_server.database, lambda _: None)
        until(lambda: is_leader(running), "the work begins")
        assert running.events("background job failed") == []
