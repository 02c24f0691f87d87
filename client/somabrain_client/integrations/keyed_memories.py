"""Reading and deleting by key, several at a time, for adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TypeVar

from somabrain_client.base_client import key_name, namespace_name
from somabrain_client.errors import NotFoundError
from somabrain_client.memory_client import MemoryClient
from somabrain_client.models import Memory

MAX_CONCURRENT = 16
"""Maximum calls of one batch at the same time."""

T = TypeVar("T")


async def get_or_none(client: MemoryClient, namespace: str, key: str) -> Memory | None:
    """Return the memory with this key, or None without one.

    Raises:
        NotFoundError: the namespace does not exist.
    """
    try:
        return await client.get(key_name(namespace, key))
    except NotFoundError as exc:
        if is_namespace_missing(exc, namespace):
            raise
        return None


def is_namespace_missing(error: NotFoundError, namespace: str) -> bool:
    """Return whether the namespace itself is what does not exist."""
    return error.details.metadata.get("resource") == namespace_name(namespace)


async def gather(calls: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """Run calls, some at the same time, and return their results in order.

    When all have ended, the first error in that order is raised: no call is left running.
    """
    slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def run(call: Coroutine[object, object, T]) -> T:
        async with slots:
            return await call

    results = await asyncio.gather(*(run(call) for call in calls), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
