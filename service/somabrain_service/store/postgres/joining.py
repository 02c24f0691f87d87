"""Writes that meet, joined: what arrives for a namespace while a transaction of it is under way shares the next one.

Writers of a namespace wait for each other at its row in any case; joined, they also share statements, a rise of the
version and a flush to disk. One that comes alone begins at once. A transaction goes on while one of its callers stays,
and those who left do not learn what became of their writes; with the last of them it is given up.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from common.errors import SomaBrainError
from somabrain_service.domain.quota import Stock
from somabrain_service.store.background import Background

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class _Waiting(Generic[T, R]):
    item: T
    size: Stock
    answer: asyncio.Future[R]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


class Joining(Generic[K, T, R]):
    """Runs `work` for one key at a time, on all that waits for it, `most` in size at most."""

    def __init__(
        self, work: Callable[[K, Sequence[T]], Awaitable[Sequence[R | SomaBrainError]]], most: Stock, tasks: Background
    ) -> None:
        self._work = work
        self._most = most
        self._tasks = tasks
        self._queues: dict[K, deque[_Waiting[T, R]]] = {}

    async def do(self, key: K, item: T, size: Stock) -> R:
        """Have the item done, alone or with others.

        Raises:
            SomaBrainError: what became of this item, or of all of them.
        """
        waiting: _Waiting[T, R] = _Waiting(item, size, asyncio.get_running_loop().create_future())
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(waiting)
        else:
            self._queues[key] = deque([waiting])
            self._begin(key)
        return await waiting.answer

    def _begin(self, key: K) -> None:
        """Begin with those who wait; the statements are told in the trace of the first."""
        queue, group, size = self._queues[key], list[_Waiting[T, R]](), Stock()
        while queue:
            more = size + queue[0].size
            if group and (more.memories > self._most.memories or more.text_bytes > self._most.text_bytes):
                break
            waiting = queue.popleft()
            if not waiting.answer.done():
                group.append(waiting)
                size = more
        if not group:
            del self._queues[key]
            return
        task = self._tasks.start(self._run(key, group), group[0].context)
        task.add_done_callback(lambda ended: self._begin(key) if ended.cancelled() else None)

        def leave(_: asyncio.Future[R]) -> None:
            if all(waiting.answer.cancelled() for waiting in group):
                task.cancel()

        for waiting in group:
            waiting.answer.add_done_callback(leave)

    async def _run(self, key: K, group: Sequence[_Waiting[T, R]]) -> None:
        results: Sequence[R | Exception]
        try:
            results = await self._work(key, [waiting.item for waiting in group])
        except Exception as exc:  # noqa: BLE001 - whatever it is, each caller raises it
            results = [exc] * len(group)
        # First, so that PostgreSQL is at work again while those here are answered.
        self._begin(key)
        for waiting, result in zip(group, results, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(result, Exception):
                waiting.answer.set_exception(result)
            else:
                waiting.answer.set_result(result)
