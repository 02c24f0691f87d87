"""Group commit: writes that arrive for a namespace while a transaction of it runs share the next transaction.

Writers of a namespace wait for each other at its row in any case; grouped, they also share statements, an increment of
the version and a flush to disk. A single write starts at once. A transaction continues while one of its callers waits;
callers that were cancelled do not receive their results, and once all are cancelled, so is the transaction.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from common.errors import SomaBrainError
from somabrain_service.domain.quota import StorageUsage
from somabrain_service.store.tasks import TaskSet

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class _Pending(Generic[T, R]):
    item: T
    size: StorageUsage
    future: asyncio.Future[R]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


class GroupCommit(Generic[K, T, R]):
    """Runner of `work`, one group per key at a time, on all pending items of the key up to `max_size`."""

    def __init__(
        self,
        work: Callable[[K, Sequence[T]], Awaitable[Sequence[R | SomaBrainError]]],
        max_size: StorageUsage,
        tasks: TaskSet,
    ) -> None:
        self._work = work
        self._max_size = max_size
        self._tasks = tasks
        self._queues: dict[K, deque[_Pending[T, R]]] = {}

    async def submit(self, key: K, item: T, size: StorageUsage) -> R:
        """Process the item, alone or in a group, and return its result.

        Raises:
            SomaBrainError: this item failed, or its whole group.
        """
        pending: _Pending[T, R] = _Pending(item, size, asyncio.get_running_loop().create_future())
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(pending)
        else:
            self._queues[key] = deque([pending])
            self._start_next(key)
        return await pending.future

    def _start_next(self, key: K) -> None:
        """Start the next group of pending items, in the context, and so the trace, of the first of them."""
        queue, group, size = self._queues[key], list[_Pending[T, R]](), StorageUsage()
        while queue:
            more = size + queue[0].size
            if group and (more.memories > self._max_size.memories or more.text_bytes > self._max_size.text_bytes):
                break
            pending = queue.popleft()
            if not pending.future.done():
                group.append(pending)
                size = more
        if not group:
            del self._queues[key]
            return
        task = self._tasks.start(self._run(key, group), group[0].context)
        task.add_done_callback(lambda ended: self._start_next(key) if ended.cancelled() else None)

        def cancel_if_abandoned(_: asyncio.Future[R]) -> None:
            if all(pending.future.cancelled() for pending in group):
                task.cancel()

        for pending in group:
            pending.future.add_done_callback(cancel_if_abandoned)

    async def _run(self, key: K, group: Sequence[_Pending[T, R]]) -> None:
        results: Sequence[R | Exception]
        try:
            results = await self._work(key, [pending.item for pending in group])
        except Exception as exc:  # noqa: BLE001 - each caller raises it, of any type
            results = [exc] * len(group)
        # First, so that PostgreSQL is busy again while these callers receive their results.
        self._start_next(key)
        for pending, result in zip(group, results, strict=True):
            if pending.future.done():
                continue
            if isinstance(result, Exception):
                pending.future.set_exception(result)
            else:
                pending.future.set_result(result)
