"""A PostgreSQL with a standby: it answers reads, and a failover loses no acknowledged write."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from somabrain_client import MemoryClient, RetryPolicy
from somabrain_client.errors import UnavailableError
from somabrain_service.admin.embedded_postgres import DATABASE, EmbeddedDatabase
from tests.integration.service.issuer import Issuer
from tests.integration.service.postgres import Postgres, postgres
from tests.integration.service.service_process import service
from tests.integration.service.standby import Standby, standby

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def pair(tmp_path: Path, database_server: EmbeddedDatabase) -> Iterator[tuple[Postgres, Standby]]:
    """A primary and its standby, both of the test's own."""
    with postgres(tmp_path / "one") as one:
        one.start()
        with standby(replace(database_server, socket=tmp_path / "one"), tmp_path / "two") as two:
            yield one, two


def either(*servers: EmbeddedDatabase) -> str:
    """A DSN with which libpq connects to the server that accepts writes."""
    hosts = ",".join(quote(str(server.socket), safe="") for server in servers)
    return f"postgresql://{servers[0].database.app_role}@/{DATABASE}?host={hosts}&target_session_attrs=read-write"


def writes_wait_for(server: EmbeddedDatabase, names: str) -> None:
    """Let commits wait for these standbys; if empty, for the primary alone."""
    with psycopg.connect(server.superuser_dsn, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'".encode())
        connection.execute("SELECT pg_reload_conf()")


async def test_standby_serves_reads_no_older_than_the_consistency_token(
    pair: tuple[Postgres, Standby], folder: Path, settings: dict[str, object], idp: Issuer
) -> None:
    one, two = pair[1].primary, pair[1]
    token = idp.token("a")
    with (
        service(folder, {**settings, "postgres_dsn": one.app_dsn}) as writing,
        service(folder, {**settings, "postgres_dsn": two.server.app_dsn}) as reading,
    ):
        writing.wait_until_ready()
        reading.wait_until_ready()
        async with (
            MemoryClient(writing.address, token=token) as primary_client,
            MemoryClient(reading.address, token=token, retry=ONCE) as standby_client,
        ):
            await primary_client.create_namespace("notes")
            first = await primary_client.remember("notes", "Bees dance.")
            two.wait_until(f"SELECT pg_last_wal_replay_lsn() >= '{lsn(one)}'::pg_lsn")
            answer = await standby_client.recall("notes", "bees", consistency_token=first.consistency_token)
            assert [hit.memory.text for hit in answer.hits] == ["Bees dance."]

            two.execute("SELECT pg_wal_replay_pause()")
            second = await primary_client.remember("notes", "Bees sting.")
            with pytest.raises(UnavailableError, match="not visible here yet"):
                await standby_client.recall("notes", "bees", consistency_token=second.consistency_token)
            assert len((await standby_client.recall("notes", "bees")).hits) == 1

            with pytest.raises(UnavailableError, match="it is a standby"):
                await standby_client.remember("notes", "Wasps sting.")
            assert len((await standby_client.recall("notes", "bees")).hits) == 1

            two.execute("SELECT pg_wal_replay_resume()")
            two.wait_until(f"SELECT pg_last_wal_replay_lsn() >= '{lsn(one)}'::pg_lsn")
            answer = await standby_client.recall("notes", "bees", consistency_token=second.consistency_token)
            assert len(answer.hits) == 2


def lsn(server: EmbeddedDatabase) -> str:
    """Return the position up to which the primary has written."""
    with psycopg.connect(server.superuser_dsn) as connection:
        row = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
    assert row is not None
    return str(row[0])


async def test_failover_loses_no_acknowledged_write(
    pair: tuple[Postgres, Standby], folder: Path, settings: dict[str, object], idp: Issuer
) -> None:
    one, two = pair
    acknowledged: list[str] = []
    writes_wait_for(two.primary, "*")
    with service(folder, {**settings, "postgres_dsn": either(two.primary, two.server)}) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("a"), deadline_s=30) as client:
            await client.create_namespace("notes")

            many = asyncio.Event()

            async def write(bee: int) -> None:
                for dance in range(60):
                    text = f"Bee {bee} danced {dance} times."
                    await client.remember("notes", text)
                    acknowledged.append(text)
                    if len(acknowledged) == 40:
                        many.set()

            async with asyncio.TaskGroup() as writers:
                for bee in range(4):
                    writers.create_task(write(bee))
                await many.wait()
                await asyncio.to_thread(one.kill)
                before = len(acknowledged)
                assert before < 240
                await asyncio.to_thread(two.execute, "SELECT pg_promote()")
                await asyncio.to_thread(writes_wait_for, two.server, "")
            assert len(acknowledged) == 240
            stored = [memory.text async for memory in client.list("notes")]
            assert sorted(stored) == sorted(acknowledged)
