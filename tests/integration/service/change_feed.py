"""Reading a namespace's feed."""

from __future__ import annotations

from contextlib import aclosing

from somabrain_client import Change, Checkpoint, MemoryClient


async def current_cursor(client: MemoryClient, namespace: str) -> str:
    """The cursor of the feed's current end."""
    async with aclosing(client.watch(namespace)) as events:
        first = await anext(events)
    assert isinstance(first, Checkpoint)
    return first.cursor


async def changes(client: MemoryClient, namespace: str, cursor: str, count: int, **options: bool) -> list[Change]:
    """The next `count` changes after a cursor."""
    collected: list[Change] = []
    async with aclosing(client.watch(namespace, cursor=cursor, **options)) as events:
        async for event in events:
            if isinstance(event, Change):
                collected.append(event)
            if len(collected) == count:
                break
    return collected
