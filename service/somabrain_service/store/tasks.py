"""Tasks that outlast the call that began them, and not the store.

Not a TaskGroup, which wraps what its body raises: whoever opens the store is told what failed by its own type.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context

import structlog

log = structlog.get_logger(__name__)


class TaskSet:
    """Tasks under way. None raises by intent: what one does raise is logged, and concerns no other."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None], context: Context | None = None) -> asyncio.Task[None]:
        """Do the work beside the calls; `context`: whose variables it sees; None: the caller's."""
        task = asyncio.create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    async def wait(self) -> None:
        """Wait for what is under way, and what that begins."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failed := task.exception()):
            log.error("background work failed", error=type(failed).__name__)


@asynccontextmanager
async def task_set() -> AsyncIterator[TaskSet]:
    """A scope for tasks: its end waits for theirs."""
    tasks = TaskSet()
    try:
        yield tasks
    finally:
        await tasks.wait()
