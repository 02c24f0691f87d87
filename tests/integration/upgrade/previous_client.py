"""A program of the previous version's client: fills two namespaces, then writes on until its input ends.

It prints each acknowledged write as a JSON line. Run by the previous version's Python, it imports nothing of this one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta

from somabrain_client import Checkpoint, MemoryClient


def emit(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def fill(client: MemoryClient) -> None:
    """Store something of every kind that the previous version could store."""
    await client.create_namespace("people", recency_half_life=timedelta(days=30), default_ttl=None)
    await client.create_namespace("log")
    for number in range(60):
        await client.remember(
            "people",
            f"Fact {number} about the lighthouse keeper.",
            session=f"s{number % 4}",
            subject="Ada" if number % 3 else "Bob",
            labels={"n": str(number)},
            event_time=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number),
            salience=number / 60,
            ttl=timedelta(days=900) if number % 5 == 0 else None,
        )
    every = [memory async for memory in client.list("people", page_size=1000)]
    for memory in every[:10]:
        await client.update(memory.name, text=memory.text.replace("lighthouse", "harbour"), etag=memory.etag)
    for memory in every[50:]:
        await client.forget(memory.name)


async def main(address: str) -> None:
    async with MemoryClient(address) as client:
        await fill(client)
        events = client.watch("log")
        first = await anext(events)
        assert isinstance(first, Checkpoint)
        await events.aclose()
        emit(cursor=first.cursor)
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        number = 0
        while not ended.done():
            memory = await client.remember("log", f"entry {number}")
            emit(entry=number, name=memory.name)
            number += 1


asyncio.run(main(sys.argv[1]))
