"""A watcher that fails unexpectedly is restarted, and stops neither its own task nor others."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from common.aio.backoff import Backoff
from somabrain_service.server.supervision import supervise

AT_ONCE = Backoff(initial_s=0.001, cap_s=0.001)


async def test_failed_watcher_is_restarted_until_it_returns() -> None:
    """Each error is logged by type and place, without its message, which may repeat a secret."""
    starts = 0

    async def watch() -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise KeyError("sesame")

    with structlog.testing.capture_logs() as logs:
        await supervise("etcd", watch, AT_ONCE)
    assert starts == 3
    assert [(line["event"], line["watcher"]) for line in logs] == [("watcher failed", "etcd")] * 2
    assert "KeyError" in str(logs)
    assert "sesame" not in str(logs)


async def test_failing_watcher_does_not_stop_other_tasks() -> None:
    """In a task group, a task that always fails leaves the others running."""
    ticks = 0

    async def broken() -> None:
        raise ZeroDivisionError

    async def sound() -> None:
        nonlocal ticks
        while ticks < 20:
            ticks += 1
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        failing = group.create_task(supervise("broken", broken, AT_ONCE))
        await group.create_task(supervise("sound", sound, AT_ONCE))
        assert not failing.done()
        failing.cancel()
    assert ticks == 20


async def test_cancelled_watcher_stops() -> None:
    task = asyncio.create_task(supervise("waiting", asyncio.Event().wait, AT_ONCE))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
