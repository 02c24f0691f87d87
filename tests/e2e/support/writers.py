"""Clients that write and read without pause, and keep book of what was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from somabrain_client import CallError, MemoryClient

PAUSE_S = 0.03


@dataclass
class Book:
    """What a writer knows: name and text of each acknowledged memory, and each call that failed for its caller."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    reads: int = 0
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
                memory = await client.remember(namespace, text, request_id=uuid4().hex)
                book.acknowledged[memory.name] = text
                book.grew.set()
            except CallError as exc:
                book.failures.append(f"{exc.code.name}: {exc.message}")
            await asyncio.sleep(PAUSE_S)

    async with _all_the_while(write(), stop):
        yield book


@asynccontextmanager
async def reading(client: MemoryClient, namespace: str, book: Book) -> AsyncIterator[None]:
    """Get and recall what the book last says is acknowledged, until the block ends; note what is amiss."""
    stop = asyncio.Event()

    async def read() -> None:
        while not stop.is_set():
            if book.acknowledged:
                name, text = next(reversed(book.acknowledged.items()))
                try:
                    if (await client.get(name)).text != text:
                        book.failures.append(f"Get answered another text for {name}")
                    if not (await client.recall(namespace, text)).hits:
                        book.failures.append(f"Recall found nothing for the words of {name}")
                    book.reads += 2
                except CallError as exc:
                    book.failures.append(f"{exc.code.name}: {exc.message}")
            await asyncio.sleep(PAUSE_S)

    async with _all_the_while(read(), stop):
        yield


@asynccontextmanager
async def _all_the_while(work: Coroutine[None, None, None], stop: asyncio.Event) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        stop.set()
        await task
