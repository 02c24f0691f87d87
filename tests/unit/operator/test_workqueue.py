"""The queue processes a key by one worker at a time, many keys in parallel, and loses none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from common.errors import Aborted
from somabrain_operator.controller.workqueue import NO_REQUEUE, WorkQueue
from somabrain_operator.kube.names import Key
from somabrain_operator.metrics import Metrics
from tests.support.waiting import until_async

A, B = Key("n", "a"), Key("n", "b")


@asynccontextmanager
async def running_queue(
    reconcile: Callable[[Key], Awaitable[float | None]], resync_s: float = 60
) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(reconcile, Metrics(), workers=4, resync_s=resync_s)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_adds_during_reconcile_are_coalesced() -> None:
    """A hundred events during a reconcile lead to one further reconcile."""
    reconciled: Counter[Key] = Counter()
    gate = asyncio.Event()

    async def reconcile(key: Key) -> float | None:
        reconciled[key] += 1
        await gate.wait()
        return None

    async with running_queue(reconcile) as queue:
        queue.add(A)
        await until_async(lambda: reconciled[A] == 1)
        for _ in range(100):
            queue.add(A)
        gate.set()
        await until_async(lambda: queue.oldest_s() == 0)
        assert reconciled[A] == 2


async def test_keys_are_reconciled_concurrently() -> None:
    """A key whose reconcile hangs does not delay others."""
    active: set[Key] = set()
    gate = asyncio.Event()

    async def reconcile(key: Key) -> float | None:
        active.add(key)
        await gate.wait()
        return None

    async with running_queue(reconcile) as queue:
        queue.add(A)
        queue.add(B)
        await until_async(lambda: active == {A, B})
        gate.set()


async def test_reconciles_of_one_key_do_not_overlap() -> None:
    """Two reconciles of one key never overlap."""
    inside, most = 0, 0

    async def reconcile(key: Key) -> float | None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.005)
        inside -= 1
        return None

    async with running_queue(reconcile) as queue:
        for _ in range(10):
            queue.add(A)
            await asyncio.sleep(0.004)
        await until_async(lambda: queue.oldest_s() == 0)
    assert most == 1


@pytest.mark.parametrize("error", [Aborted("lost a race"), Aborted("again")])
async def test_failed_key_is_retried(error: Exception) -> None:
    """A key that fails is retried after its back-off until it succeeds."""
    tries = 0

    async def reconcile(key: Key) -> float | None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise error
        return None

    async with running_queue(reconcile) as queue:
        queue.add(A)
        await until_async(lambda: tries == 3)


async def test_error_of_one_key_does_not_stop_others() -> None:
    """An exception for one key, even an unexpected one, does not stop the others."""
    done: set[Key] = set()

    async def reconcile(key: Key) -> float | None:
        if key == A:
            raise ZeroDivisionError
        done.add(key)
        return None

    async with running_queue(reconcile) as queue:
        queue.add(A)
        queue.add(B)
        await until_async(lambda: done == {B})


async def test_key_is_requeued_after_delay_and_by_resync() -> None:
    """A key is requeued after the delay that its reconcile returns, and by the resync."""
    reconciled: Counter[Key] = Counter()

    async def reconcile(key: Key) -> float | None:
        reconciled[key] += 1
        return 0.05 if key == A and reconciled[A] == 1 else None

    async with running_queue(reconcile, resync_s=0.3) as queue:
        queue.add(A)
        queue.add(B)
        await until_async(lambda: reconciled[A] == 2 and reconciled[B] == 1)
        await until_async(lambda: reconciled[B] == 2)


async def test_deleted_key_is_not_resynced() -> None:
    """The key of a deleted resource is not resynced."""
    reconciled: Counter[Key] = Counter()

    async def reconcile(key: Key) -> float | None:
        reconciled[key] += 1
        return NO_REQUEUE

    async with running_queue(reconcile, resync_s=0.05) as queue:
        queue.add(A)
        await asyncio.sleep(0.3)
        assert reconciled[A] == 1


async def test_event_of_own_write_is_dropped() -> None:
    """An event is compared with our own writes once the key is idle: it may come before the write's response."""
    reconciled: Counter[Key] = Counter()
    written = False

    async def reconcile(key: Key) -> float | None:
        nonlocal written
        reconciled[key] += 1
        await asyncio.sleep(0.02)
        written = True
        return None

    async with running_queue(reconcile) as queue:
        queue.add(A)
        await until_async(lambda: reconciled[A] == 1)
        queue.add(A, lambda: not written)
        await until_async(lambda: queue.oldest_s() == 0)
        await asyncio.sleep(0.05)
        assert reconciled[A] == 1


async def test_stop_finishes_only_running_reconciles() -> None:
    """On stop, running reconciles finish and no further one starts."""
    finished = asyncio.Event()

    async def reconcile(key: Key) -> float | None:
        await asyncio.sleep(0.05)
        finished.set()
        return None

    async with running_queue(reconcile) as queue:
        queue.add(A)
        await asyncio.sleep(0.01)
        await queue.stop(5)
        assert finished.is_set()
        queue.add(B)
        assert queue.oldest_s() == 0


async def test_cancelled_reconcile_is_repeated_by_next_run() -> None:
    """A reconcile cut off by a cancellation is done again by the next run, as after a lost Lease."""
    reconciled: list[Key] = []
    gate = asyncio.Event()

    async def reconcile(key: Key) -> float | None:
        reconciled.append(key)
        await gate.wait()
        return NO_REQUEUE

    queue = WorkQueue(reconcile, Metrics(), workers=1, resync_s=60)
    queue.add(A)
    queue.add(B)
    assert queue.oldest_s() == 0  # no worker runs, so no key is late
    first = asyncio.create_task(queue.run())
    await until_async(lambda: reconciled == [A])
    assert queue.oldest_s() > 0
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    gate.set()
    second = asyncio.create_task(queue.run())
    await until_async(lambda: sorted(reconciled) == [A, A, B])
    second.cancel()
