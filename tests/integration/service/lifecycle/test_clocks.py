"""Processes with different clocks use one: the database's clock decides what has expired, and the order of writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from devcluster.loopback.server_process import tool
from somabrain_client import MemoryClient, RetryPolicy
from somabrain_client.errors import NotFoundError
from tests.integration.service.metrics import series
from tests.integration.service.namespaces import unique
from tests.integration.service.service_process import PYTHON, ServiceProcess, service
from tests.support.clones import Clone
from tests.support.waiting import until

RUNS = 'somabrain_background_job_runs_total{job="expired-memories",outcome="done"}'


@pytest.fixture(scope="module")
def open_settings(module_database: Clone) -> dict[str, object]:
    """Settings of a service without authentication, because a bearer token is judged by the process' own clock."""
    return {
        "postgres_dsn": module_database.app_dsn,
        "grpc__host": "127.0.0.1",
        "grpc__port": 0,
        "grpc__shutdown_delay_s": 0,
        "http__host": "127.0.0.1",
        "http__port": 0,
        "encoder__kind": "lexical",
        "auth__mode": "none",
        "policy__enabled": "false",
    }


def python_with_clock(folder: Path, difference: str) -> Path:
    """A Python whose scripts' wall clock differs from the machine's; its monotonic clock is the machine's."""
    (library,) = tool("faketime").resolve().parent.glob("usr/lib/*/faketime/libfaketimeMT.so.1")
    folder.mkdir()
    script = folder / "somabrain-service"
    variables = f"LD_PRELOAD={library} FAKETIME={difference} DONT_FAKE_MONOTONIC=1"
    script.write_text(f'#!/bin/sh\n{variables} exec {PYTHON.with_name("somabrain-service")} "$@"\n')
    script.chmod(0o755)
    return folder / PYTHON.name


@dataclass(frozen=True, slots=True)
class Pair:
    """Two services over one database: one with the machine's clock, one with another, which runs background jobs."""

    right: ServiceProcess
    wrong: ServiceProcess


@contextmanager
def pair(folder: Path, settings: dict[str, object], module_database: Clone, difference: str) -> Iterator[Pair]:
    jobs = {**settings, "worker_dsn": module_database.worker_dsn, "workers__sweep_interval_s": 0.1}
    python = python_with_clock(folder / f"python{difference}", difference)
    with service(folder, settings) as right, service(folder, jobs, python=python) as wrong:
        right.wait_until_ready()
        wrong.wait_until_ready()
        yield Pair(right, wrong)


@pytest.fixture(scope="module", params=["+90s", "-90s"])
def services(
    request: pytest.FixtureRequest, folder: Path, open_settings: dict[str, object], module_database: Clone
) -> Iterator[Pair]:
    with pair(folder, open_settings, module_database, request.param) as running:
        yield running


@pytest.fixture
async def clients(services: Pair) -> AsyncIterator[tuple[MemoryClient, MemoryClient, str]]:
    """A client of the right service, one of the wrong one, and a new namespace."""
    async with AsyncExitStack() as stack:
        right, wrong = [
            await stack.enter_async_context(MemoryClient(each.address, retry=RetryPolicy(max_attempts=1)))
            for each in (services.right, services.wrong)
        ]
        yield right, wrong, (await right.create_namespace(unique())).name


async def test_ttl_is_honoured_across_processes_with_clock_skew(
    services: Pair, clients: tuple[MemoryClient, MemoryClient, str]
) -> None:
    """A memory with a ttl of 60 s is returned by both, and the expiry job of the process with clock skew leaves it."""
    right, wrong, namespace = clients
    kept = await right.remember(namespace, "bees for a minute", ttl=timedelta(seconds=60))
    other = await wrong.remember(namespace, "wasps for a minute", ttl=timedelta(seconds=60))
    swept = series(services.wrong, RUNS)
    until(lambda: series(services.wrong, RUNS) >= swept + 3, "three more sweeps were done")
    for client in (right, wrong):
        for memory in (kept, other):
            assert (await client.get(memory.name)).text == memory.text
            assert [hit.memory.name for hit in (await client.recall(namespace, memory.text, top_k=1)).hits] == [
                memory.name
            ]


async def test_expiry_is_consistent_across_processes_with_clock_skew(
    services: Pair, clients: tuple[MemoryClient, MemoryClient, str], module_database: Clone
) -> None:
    """Memories with a ttl of 2 s, of either process, are gone from both after 2 s, and the expiry job deletes them."""
    right, wrong, namespace = clients
    short = [await each.remember(namespace, "brief", ttl=timedelta(seconds=2)) for each in (right, wrong)]
    assert all(memory.expire_time for memory in short)
    await asyncio.sleep(2.1)
    for client in (right, wrong):
        for memory in short:
            with pytest.raises(NotFoundError):
                await client.get(memory.name)
    with psycopg.connect(module_database.owner_dsn, autocommit=True) as owner:

        def expired() -> int:
            row = owner.execute("SELECT count(*) FROM memories WHERE text = 'brief'").fetchone()
            assert row is not None
            return int(row[0])

        until(lambda: expired() == 0, "the expired memories are removed")


async def test_timestamps_and_lists_follow_write_order_despite_clock_skew(
    clients: tuple[MemoryClient, MemoryClient, str], module_database: Clone
) -> None:
    """Whichever process writes, times follow the database's clock, and neither lists nor updates go back in time."""
    right, wrong, namespace = clients
    with psycopg.connect(module_database.owner_dsn) as owner:
        row = owner.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    written = [await each.remember(namespace, f"note {i}") for i, each in enumerate((right, wrong) * 3)]
    for memory in written:
        assert memory.create_time is not None
        assert abs(memory.create_time - row[0]) < timedelta(seconds=30)
    listed = [memory.name async for memory in right.list(namespace)]
    assert listed == [memory.name for memory in written]
    updated = await right.update(written[1].name, salience=0.9)
    assert updated.create_time is not None
    assert updated.update_time is not None
    assert updated.update_time >= updated.create_time


def test_healthz_reports_clock_skew(services: Pair) -> None:
    """The process with clock skew reports its amount and direction, and is healthy; the other one reports nothing."""
    status, body = services.wrong.get("/healthz")
    check = json.loads(body)["checks"]["postgres"]
    assert (status, check["status"]) == (200, "ok")
    (note,) = check["notes"]
    assert note.startswith(
        ("This process' clock is 90.0 s ahead of PostgreSQL's.", "This process' clock is 90.0 s behind")
    )
    assert "NTP" in note
    assert "notes" not in json.loads(services.right.get("/healthz")[1])["checks"]["postgres"]
