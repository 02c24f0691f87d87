"""Full garbage collections run while the operator is idle, and not in the middle of work."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from somabrain_operator.python_gc import collect_when_idle
from tests.support.waiting import until_async


class Cycle:
    """Garbage that only a collection frees, and an old object only a full one."""

    def __init__(self) -> None:
        self.me = self


def old_garbage() -> weakref.ref[Cycle]:
    cycle = Cycle()
    gc.collect()
    return weakref.ref(cycle)


@asynccontextmanager
async def collecting(is_idle: Callable[[], bool], longest_s: float = 60) -> AsyncIterator[None]:
    task = asyncio.create_task(collect_when_idle(is_idle, interval_s=0.01, max_interval_s=longest_s))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_full_collection_waits_until_idle() -> None:
    """No full collection runs before the queue is idle, however many objects are allocated."""
    calls, idle = 0, False

    def is_idle() -> bool:
        nonlocal calls
        calls += 1
        return idle

    old = old_garbage()
    async with collecting(is_idle):
        await until_async(lambda: calls > 0)
        objects = [[] for _ in range(1_000_000)]  # type: list[list[object]]
        assert old() is not None
        idle = True
        await until_async(lambda: old() is None)
        assert len(objects) == 1_000_000


async def test_full_collection_runs_after_max_interval_without_idle() -> None:
    """Without idle time a collection still runs, so that garbage does not grow without bound."""
    old = old_garbage()
    async with collecting(lambda: False, longest_s=0.05):
        await until_async(lambda: old() is None)


async def test_gc_threshold_is_restored() -> None:
    """The threshold of Python's collector is restored at the end, as it applies to the whole process."""
    before = gc.get_threshold()
    async with collecting(lambda: True):
        await until_async(lambda: gc.get_threshold() != before)
    assert gc.get_threshold() == before
