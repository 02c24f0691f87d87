"""Concurrent calls for one key share a single execution."""

from __future__ import annotations

import asyncio

import pytest

from common.aio.single_flight import SingleFlight


class Work:
    """Counts how often it is started, and ends when it is allowed to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.begun = 0
        self.let = asyncio.Event()
        self._fails = fails

    async def __call__(self) -> int:
        self.begun += 1
        await self.let.wait()
        if self._fails:
            raise LookupError(str(self.begun))
        return self.begun


async def settled() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_for_what_is_under_way_gets_its_answer() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    work, other = Work(), Work()
    async with asyncio.TaskGroup() as tasks:
        same = [tasks.create_task(flight.run("a", work)) for _ in range(100)]
        another = tasks.create_task(flight.run("b", other))
        await settled()
        work.let.set()
        other.let.set()
    assert [task.result() for task in same] == [1] * 100
    assert (work.begun, other.begun, another.result()) == (1, 1, 1)
    assert await flight.run("a", work) == 2


async def test_all_who_wait_get_its_error() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    work = Work(fails=True)
    waiting = asyncio.gather(*(flight.run("a", work) for _ in range(10)), return_exceptions=True)
    await settled()
    work.let.set()
    assert [str(error) for error in await waiting] == ["1"] * 10
    with pytest.raises(LookupError, match="2"):
        await flight.run("a", work)


async def test_nobody_fails_for_anothers_impatience() -> None:
    """If the caller that runs the work is cancelled, another caller runs it and all of them get the result."""
    flight: SingleFlight[str, int] = SingleFlight()
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        first, *others = [tasks.create_task(flight.run("a", work)) for _ in range(10)]
        await settled()
        first.cancel()
        await settled()
        assert work.begun == 2
        work.let.set()
    assert first.cancelled()
    assert [task.result() for task in others] == [2] * 9


async def test_one_who_waits_may_leave_alone() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        first, second = [tasks.create_task(flight.run("a", work)) for _ in range(2)]
        await settled()
        second.cancel()
        await settled()
        work.let.set()
    assert second.cancelled()
    assert (first.result(), work.begun) == (1, 1)
