"""A client that writes without pause and keeps book of what was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from somabrain_client import CallError, MemoryClient

PAUSE_S = 0.03


@dataclass
class Book:
    """What a writer knows: name and text of each acknowledged memory, and each call that failed for its caller."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    grew: asyncio.Event = field(default_factory=asyncio.Event)

    async def more(self, count: int, timeout_s: float = 60) -> None:
        """Wait until `count` more memories were acknowledged."""
        target = len(self.acknowledged) + count
        async with asyncio.timeout(timeout_s):
            while len(self.acknowledged) < target:
                self.grew.clear()
                await self.grew.wait()

    async def missing(self, client: MemoryClient, namespace: str) -> list[str]:
        """Return what was acknowledged and is not there now, byte for byte."""
        there = {memory.name: memory.text async for memory in client.list(namespace, page_size=1000)}
        return [name for name, text in self.acknowledged.items() if there.get(name) != text]


@asynccontextmanager
async def writing(client: MemoryClient, namespace: str) -> AsyncIterator[Book]:
    """Write into a namespace until the block ends; the last call is waited for."""
    book, stop = Book(), asyncio.Event()

    async def write() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            text = f"Observation {count}: the tide stood at {count} fathoms."
            try:
                memory = await client.remember(namespace, text)
                book.acknowledged[memory.name] = text
                book.grew.set()
            except CallError as exc:
                book.failures.append(f"{exc.code.name}: {exc.message}")
            await asyncio.sleep(PAUSE_S)

    task = asyncio.create_task(write())
    try:
        yield book
    finally:
        stop.set()
        await task
