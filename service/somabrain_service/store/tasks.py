"""Tasks that outlive the call that started them, but not the store.

Not a TaskGroup, which wraps the exceptions of its body: the caller that opens the store gets them by their own type.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context

import structlog

_log = structlog.stdlib.get_logger(__name__)


class TaskSet:
    """Running tasks. No task is meant to raise: an exception is logged and does not affect the others."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None], context: Context | None = None) -> asyncio.Task[None]:
        """Start a task in the background, in `context`; None: a copy of the caller's."""
        task = asyncio.create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    async def wait(self) -> None:
        """Wait for all running tasks and those that they start."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failed := task.exception()):
            _log.error("background task failed", error=type(failed).__name__)


@asynccontextmanager
async def task_set() -> AsyncIterator[TaskSet]:
    """Open a scope for tasks that waits for them on exit."""
    tasks = TaskSet()
    try:
        yield tasks
    finally:
        await tasks.wait()
