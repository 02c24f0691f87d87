"""Concurrent writes share a transaction, and one without waiting callers is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from somabrain_service.domain.quota import StorageUsage
from somabrain_service.store.postgres.group_commit import GroupCommit
from somabrain_service.store.tasks import TaskSet, task_set


class Work:
    """Transactions that end when a test lets them."""

    def __init__(self) -> None:
        self.begun: list[list[str]] = []
        self.ended: list[list[str]] = []
        self.go_on = asyncio.Event()

    async def __call__(self, _: str, items: Sequence[str]) -> Sequence[str]:
        self.begun.append(list(items))
        await self.go_on.wait()
        self.ended.append(list(items))
        return [item.upper() for item in items]


@pytest.fixture
async def tasks() -> AsyncIterator[TaskSet]:
    async with task_set() as tasks:
        yield tasks


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def joining(work: Work, tasks: TaskSet) -> GroupCommit[str, str, str]:
    return GroupCommit(work, StorageUsage(3, 1000), tasks)


async def _begin(joining: GroupCommit[str, str, str], *items: str) -> list[asyncio.Task[str]]:
    calls = [asyncio.create_task(joining.submit("notes", item, StorageUsage(1, 1))) for item in items]
    for _ in range(3):
        await asyncio.sleep(0)
    return calls


async def test_what_arrives_meanwhile_shares_the_next_transaction(
    work: Work, joining: GroupCommit[str, str, str]
) -> None:
    calls = await _begin(joining, "a", "b", "c", "d", "e")
    work.go_on.set()
    assert await asyncio.gather(*calls) == ["A", "B", "C", "D", "E"]
    assert work.ended == [["a"], ["b", "c", "d"], ["e"]]


async def test_a_transaction_that_everybody_left_is_given_up(work: Work, joining: GroupCommit[str, str, str]) -> None:
    (alone,) = await _begin(joining, "a")
    (after,) = await _begin(joining, "b")
    alone.cancel()
    work.go_on.set()
    assert await after == "B"
    assert work.begun == [["a"], ["b"]]
    assert work.ended == [["b"]]


async def test_a_transaction_goes_on_while_one_caller_stays(work: Work, joining: GroupCommit[str, str, str]) -> None:
    first, leaves, stays = await _begin(joining, "a", "b", "c")
    work.go_on.set()
    await first
    work.go_on.clear()
    await asyncio.sleep(0)
    assert work.begun[-1] == ["b", "c"]
    leaves.cancel()
    work.go_on.set()
    assert await stays == "C"
    assert work.ended[-1] == ["b", "c"]


async def test_one_that_left_while_waiting_is_not_begun(work: Work, joining: GroupCommit[str, str, str]) -> None:
    first, leaves, stays = await _begin(joining, "a", "b", "c")
    leaves.cancel()
    await asyncio.sleep(0)
    work.go_on.set()
    assert [await first, await stays] == ["A", "C"]
    assert work.begun == [["a"], ["c"]]


async def test_leaving_before_the_transaction_begins_holds_up_nobody(
    work: Work, joining: GroupCommit[str, str, str]
) -> None:
    """A caller cancelled before its transaction starts does not block the next ones."""
    call = asyncio.create_task(joining.submit("notes", "a", StorageUsage(1, 1)))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.sleep(0)
    work.go_on.set()
    (after,) = await _begin(joining, "b")
    assert await after == "B"
