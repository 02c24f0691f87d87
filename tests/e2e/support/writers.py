"""Clients that write and read continuously, and record what was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from somabrain_client import CallError, MemoryClient

PAUSE_S = 0.03


@dataclass
class WriteLog:
    """Name and text of each acknowledged memory, and each call that failed for its caller."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    reads: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for_more(self, count: int, timeout_s: float = 60) -> None:
        """Wait until `count` more memories are acknowledged."""
        target = len(self.acknowledged) + count
        async with asyncio.timeout(timeout_s):
            while len(self.acknowledged) < target:
                self.changed.clear()
                await self.changed.wait()

    async def missing(self, client: MemoryClient, namespace: str) -> list[str]:
        """Return the acknowledged memories that cannot be read byte for byte."""
        stored = {memory.name: memory.text async for memory in client.list(namespace, page_size=1000)}
        return [name for name, text in self.acknowledged.items() if stored.get(name) != text]


@asynccontextmanager
async def writing(client: MemoryClient, namespace: str) -> AsyncIterator[WriteLog]:
    """Write into a namespace until the block ends, and wait for the last call."""
    log, stop = WriteLog(), asyncio.Event()

    async def write() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            text = f"Observation {count}: the tide stood at {count} fathoms."
            try:
                memory = await client.remember(namespace, text, request_id=uuid4().hex)
                log.acknowledged[memory.name] = text
                log.changed.set()
            except CallError as exc:
                log.failures.append(f"{exc.code.name}: {exc.message}")
            await asyncio.sleep(PAUSE_S)

    async with _run_during(write(), stop):
        yield log


@asynccontextmanager
async def reading(client: MemoryClient, namespace: str, log: WriteLog) -> AsyncIterator[None]:
    """Get and recall the last acknowledged memory until the block ends; record each discrepancy."""
    stop = asyncio.Event()

    async def read() -> None:
        while not stop.is_set():
            if log.acknowledged:
                name, text = next(reversed(log.acknowledged.items()))
                try:
                    if (await client.get(name)).text != text:
                        log.failures.append(f"Get answered another text for {name}")
                    if not (await client.recall(namespace, text)).hits:
                        log.failures.append(f"Recall found nothing for the words of {name}")
                    log.reads += 2
                except CallError as exc:
                    log.failures.append(f"{exc.code.name}: {exc.message}")
            await asyncio.sleep(PAUSE_S)

    async with _run_during(read(), stop):
        yield


@asynccontextmanager
async def _run_during(work: Coroutine[None, None, None], stop: asyncio.Event) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        stop.set()
        await task
