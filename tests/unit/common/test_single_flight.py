"""Concurrent calls for one key share a single execution."""

from __future__ import annotations

import asyncio

import pytest

from common.aio.single_flight import SingleFlight


class Work:
    """Work that counts its starts, and ends when it is released."""

    def __init__(self, *, fails: bool = False) -> None:
        self.starts = 0
        self.release = asyncio.Event()
        self._fails = fails

    async def __call__(self) -> int:
        self.starts += 1
        await self.release.wait()
        if self._fails:
            raise LookupError(str(self.starts))
        return self.starts


async def run_pending_tasks() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_concurrent_callers_share_one_execution() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    work, other = Work(), Work()
    async with asyncio.TaskGroup() as tasks:
        same = [tasks.create_task(flight.run("a", work)) for _ in range(100)]
        another = tasks.create_task(flight.run("b", other))
        await run_pending_tasks()
        work.release.set()
        other.release.set()
    assert [task.result() for task in same] == [1] * 100
    assert (work.starts, other.starts, another.result()) == (1, 1, 1)
    assert await flight.run("a", work) == 2


async def test_waiting_callers_share_error() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    work = Work(fails=True)
    waiting = asyncio.gather(*(flight.run("a", work) for _ in range(10)), return_exceptions=True)
    await run_pending_tasks()
    work.release.set()
    assert [str(error) for error in await waiting] == ["1"] * 10
    with pytest.raises(LookupError, match="2"):
        await flight.run("a", work)


async def test_cancelled_leader_does_not_fail_other_callers() -> None:
    """If the caller that runs the work is cancelled, another caller runs it and all of them get the result."""
    flight: SingleFlight[str, int] = SingleFlight()
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        first, *others = [tasks.create_task(flight.run("a", work)) for _ in range(10)]
        await run_pending_tasks()
        first.cancel()
        await run_pending_tasks()
        assert work.starts == 2
        work.release.set()
    assert first.cancelled()
    assert [task.result() for task in others] == [2] * 9


async def test_cancelled_waiter_does_not_affect_execution() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        first, second = [tasks.create_task(flight.run("a", work)) for _ in range(2)]
        await run_pending_tasks()
        second.cancel()
        await run_pending_tasks()
        work.release.set()
    assert second.cancelled()
    assert (first.result(), work.starts) == (1, 1)
