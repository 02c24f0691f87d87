"""After kill -9 during writes, every acknowledged write is stored exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from somabrain_client import MemoryClient, RetryPolicy
from somabrain_client.errors import CallError
from tests.integration.service.issuer import Issuer
from tests.integration.service.postgres import postgres
from tests.integration.service.service_process import service

WRITERS = 4
ONCE = RetryPolicy(max_attempts=1)


async def write(client: MemoryClient, writer: int, acknowledged: list[str], stop: asyncio.Event) -> None:
    """Write numbered texts, record those that were acknowledged, and continue with the next after a failure."""
    number = 0
    while not stop.is_set():
        text = f"writer {writer} number {number}"
        try:
            await client.remember("faults", text)
        except CallError:
            await asyncio.sleep(0.05)
        else:
            acknowledged.append(text)
        number += 1


async def stored_texts(address: str, token: str) -> Counter[str]:
    async with MemoryClient(address, token=token) as client:
        return Counter([memory.text async for memory in client.list("faults", page_size=1000)])


async def test_service_kill_loses_and_duplicates_no_write(
    folder: Path, settings: dict[str, object], idp: Issuer
) -> None:
    acknowledged: list[str] = []
    token = idp.token("service-killed")
    with service(folder, settings) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=token, retry=ONCE) as client:
            await client.create_namespace("faults")
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for writer in range(WRITERS):
                    tasks.create_task(write(client, writer, acknowledged, stop))
                await asyncio.sleep(1.5)
                running.process.kill()
                await asyncio.sleep(0.3)
                stop.set()
    assert len(acknowledged) > 20
    with service(folder, settings) as running:
        running.wait_until_ready()
        stored = await stored_texts(running.address, token)
    assert [text for text in acknowledged if stored[text] != 1] == []
    assert max(stored.values()) == 1


async def test_postgresql_kill_loses_and_duplicates_no_write(
    folder: Path, settings: dict[str, object], idp: Issuer
) -> None:
    """The service stays up, reports that it is not ready and why, and recovers by itself when the database is back."""
    data_dir = folder / "killed"
    acknowledged: list[str] = []
    token = idp.token("postgresql-killed")
    with (
        postgres(data_dir) as database,
        service(folder, {**settings, "postgres_dsn": database.start()}) as running,
    ):
        running.wait_until_ready()
        async with MemoryClient(running.address, token=token, retry=ONCE) as client:
            await client.create_namespace("faults")
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for writer in range(WRITERS):
                    tasks.create_task(write(client, writer, acknowledged, stop))
                await asyncio.sleep(1.5)
                await asyncio.to_thread(database.kill)
                await asyncio.to_thread(running.wait_until_ready, False, containing="PostgreSQL")
                before = len(acknowledged)
                await asyncio.to_thread(database.start)
                await asyncio.to_thread(running.wait_until_ready)
                await asyncio.sleep(1.0)
                stop.set()
            stored = await stored_texts(running.address, token)
        assert running.process.poll() is None
    assert before > 20
    assert len(acknowledged) > before
    assert [text for text in acknowledged if stored[text] != 1] == []
    assert max(stored.values()) == 1
