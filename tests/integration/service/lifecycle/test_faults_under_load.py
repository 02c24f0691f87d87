"""Clients write, recall and watch while servers are killed: for two minutes in `make faults`, for seconds here."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from devcluster.loopback.server_process import free_ports
from somabrain_client import Change, ChangeType, Memory, MemoryClient, RetryPolicy
from tests.integration.service.issuer import Issuer
from tests.integration.service.postgres import Postgres, postgres
from tests.integration.service.service_process import ServiceProcess, service

CLIENTS = 8
PATIENT = RetryPolicy(max_attempts=60)
LAST = "the last words"


@dataclass
class ClientLog:
    """The answers and events that one client got."""

    acknowledged: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    changes: list[tuple[str, ChangeType, str]] = field(default_factory=list)
    """Cursor, type and name, as the watch brought them."""
    missed: list[str] = field(default_factory=list)
    """Texts that the Recall right after their acknowledgement did not find."""


async def write(client: MemoryClient, number: int, log: ClientLog, stop: asyncio.Event) -> None:
    """Write texts and forget every fifth; recall each one right after it was acknowledged, by a unique word."""
    for count in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
        text = f"w{number}x{count} was written"
        memory = await client.remember("load", text)
        log.acknowledged.append(text)
        answer = await client.recall("load", f"w{number}x{count}", top_k=1)
        if [hit.memory.text for hit in answer.hits] != [text]:
            log.missed.append(text)
        if count % 5 == 4:
            await client.forget(memory.name)
            log.forgotten.append(text)


async def watch(client: MemoryClient, cursor: str, log: ClientLog) -> None:
    """Follow the feed by its cursor until the last words."""
    async for event in client.watch("load", cursor=cursor, include_memory=True):
        if isinstance(event, Change):
            log.changes.append((event.cursor, event.type, event.name))
            if event.memory is not None and event.memory.text == LAST:
                return


async def kill_servers(
    settings: dict[str, object],
    folder: Path,
    database: Postgres,
    brain: ServiceProcess,
    stack: ExitStack,
    length_s: float,
) -> None:
    """Kill the server three times and PostgreSQL once, evenly over the time, and restart each."""
    for victim in ("server", "server", "PostgreSQL", "server"):
        await asyncio.sleep(length_s / 5)
        if victim == "PostgreSQL":
            await asyncio.to_thread(database.kill)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(database.start)
        else:
            brain.process.kill()
            await asyncio.to_thread(brain.process.wait)
            brain = stack.enter_context(service(folder, settings))
    await asyncio.to_thread(brain.wait_until_ready)
    await asyncio.sleep(length_s / 5)


@pytest.mark.timeout(400)
async def test_kills_under_load_lose_no_write_or_watch_event(
    folder: Path, settings: dict[str, object], idp: Issuer, pytestconfig: pytest.Config
) -> None:
    """The retries of the clients cover three kills of the server and one of PostgreSQL."""
    length_s: float = pytestconfig.getoption("--faults-s")
    token = idp.token("faults-under-load", life_s=3600)
    (port,) = free_ports(1)
    with postgres(folder / "under-load") as database, ExitStack() as stack:
        settings = {**settings, "postgres_dsn": database.start(), "grpc__port": port}
        brain = stack.enter_context(service(folder, settings))
        brain.wait_until_ready()
        clients = [MemoryClient(brain.address, token=token, retry=PATIENT, deadline_s=120) for _ in range(CLIENTS)]
        everyone = [ClientLog() for _ in clients]
        await clients[0].create_namespace("load")
        begun = await anext(clients[0].watch("load"))
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as watching:
            for client, client_log in zip(clients, everyone, strict=True):
                watching.create_task(watch(client, begun.cursor, client_log))
            async with asyncio.TaskGroup() as writing:
                for number, (client, client_log) in enumerate(zip(clients, everyone, strict=True)):
                    writing.create_task(write(client, number, client_log, stop))
                await kill_servers(settings, folder, database, brain, stack, length_s)
                stop.set()
            await clients[0].remember("load", LAST)
        memories: list[Memory] = [memory async for memory in clients[0].list("load", page_size=1000)]
        unanswered = sum(client.attempts.unavailable for client in clients)
        for client in clients:
            with suppress(RuntimeError):
                await client.__aexit__(None, None, None)

    stored = Counter(memory.text for memory in memories)
    acknowledged = {text for client_log in everyone for text in client_log.acknowledged}
    forgotten = {text for client_log in everyone for text in client_log.forgotten}
    print(f"{len(acknowledged)} writes acknowledged, {len(forgotten)} forgotten, {unanswered} attempts found nobody")
    assert unanswered > 0
    assert stored == Counter({*(acknowledged - forgotten), LAST})
    assert [client_log.missed for client_log in everyone if client_log.missed] == []
    first = everyone[0].changes
    assert all(client_log.changes == first for client_log in everyone)
    remembered = [name for _, kind, name in first if kind is ChangeType.REMEMBERED]
    assert len(remembered) == len(set(remembered)) == len(acknowledged) + 1
    assert sum(kind is ChangeType.FORGOTTEN for _, kind, _ in first) == len(forgotten)
    assert len(first) == len(acknowledged) + len(forgotten) + 1
