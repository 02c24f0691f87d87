"""Concurrent writes share a transaction, and one without waiting callers is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from somabrain_service.domain.quota import StorageUsage
from somabrain_service.store.postgres.group_commit import GroupCommit
from somabrain_service.store.tasks import TaskSet, task_set


class Work:
    """Transactions that end when a test releases them."""

    def __init__(self) -> None:
        self.started: list[list[str]] = []
        self.ended: list[list[str]] = []
        self.release = asyncio.Event()

    async def __call__(self, _: str, items: Sequence[str]) -> Sequence[str]:
        self.started.append(list(items))
        await self.release.wait()
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
def group_commit(work: Work, tasks: TaskSet) -> GroupCommit[str, str, str]:
    return GroupCommit(work, StorageUsage(3, 1000), tasks)


async def _begin(group_commit: GroupCommit[str, str, str], *items: str) -> list[asyncio.Task[str]]:
    calls = [asyncio.create_task(group_commit.submit("notes", item, StorageUsage(1, 1))) for item in items]
    for _ in range(3):
        await asyncio.sleep(0)
    return calls


async def test_concurrent_submits_share_next_transaction(work: Work, group_commit: GroupCommit[str, str, str]) -> None:
    calls = await _begin(group_commit, "a", "b", "c", "d", "e")
    work.release.set()
    assert await asyncio.gather(*calls) == ["A", "B", "C", "D", "E"]
    assert work.ended == [["a"], ["b", "c", "d"], ["e"]]


async def test_transaction_without_callers_is_cancelled(work: Work, group_commit: GroupCommit[str, str, str]) -> None:
    (alone,) = await _begin(group_commit, "a")
    (after,) = await _begin(group_commit, "b")
    alone.cancel()
    work.release.set()
    assert await after == "B"
    assert work.started == [["a"], ["b"]]
    assert work.ended == [["b"]]


async def test_transaction_continues_while_one_caller_waits(
    work: Work, group_commit: GroupCommit[str, str, str]
) -> None:
    first, leaves, stays = await _begin(group_commit, "a", "b", "c")
    work.release.set()
    await first
    work.release.clear()
    await asyncio.sleep(0)
    assert work.started[-1] == ["b", "c"]
    leaves.cancel()
    work.release.set()
    assert await stays == "C"
    assert work.ended[-1] == ["b", "c"]


async def test_item_cancelled_while_queued_is_not_written(work: Work, group_commit: GroupCommit[str, str, str]) -> None:
    first, leaves, stays = await _begin(group_commit, "a", "b", "c")
    leaves.cancel()
    await asyncio.sleep(0)
    work.release.set()
    assert [await first, await stays] == ["A", "C"]
    assert work.started == [["a"], ["c"]]


async def test_cancel_before_transaction_starts_does_not_block_others(
    work: Work, group_commit: GroupCommit[str, str, str]
) -> None:
    """A caller cancelled before its transaction starts does not block the next ones."""
    call = asyncio.create_task(group_commit.submit("notes", "a", StorageUsage(1, 1)))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.sleep(0)
    work.release.set()
    (after,) = await _begin(group_commit, "b")
    assert await after == "B"
