"""Waiting for a state that has no event of its own, as another process' has not: in one way, with the last value."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

Value = TypeVar("Value")
WAIT_S = 30.0
EVERY_S = 0.05


def eventually(
    probe: Callable[[], Value],
    condition: Callable[[Value], bool] = bool,
    what: str = "it is true",
    timeout_s: float = WAIT_S,
    every_s: float = EVERY_S,
) -> Value:
    """Probe until a condition is true of the value, and return that. KeyError: what is probed is not there yet.

    Raises:
        AssertionError: it was not true in time; the message is `what` and the last value.
    """
    last: object = None
    for pause_s in _pauses(timeout_s, every_s):
        try:
            last = value = probe()
            if condition(value):
                return value
        except KeyError as error:
            last = error
        time.sleep(pause_s)
    raise AssertionError(f"{what}: not within {timeout_s:g} s; seen last: {last}")


async def eventually_async(
    probe: Callable[[], Awaitable[Value]],
    condition: Callable[[Value], bool] = bool,
    what: str = "it is true",
    timeout_s: float = WAIT_S,
    every_s: float = EVERY_S,
) -> Value:
    """Await a probe until a condition is true of the value, as `eventually`."""
    last: object = None
    for pause_s in _pauses(timeout_s, every_s):
        try:
            last = value = await probe()
            if condition(value):
                return value
        except KeyError as error:
            last = error
        await asyncio.sleep(pause_s)
    raise AssertionError(f"{what}: not within {timeout_s:g} s; seen last: {last}")


def until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Check a condition until it is true, as `eventually`."""
    eventually(condition, bool, what, timeout_s)


async def until_async(
    condition: Callable[[], bool], what: str = "it is true", timeout_s: float = WAIT_S, every_s: float = EVERY_S
) -> None:
    """Check a condition in this event loop until it is true, as `eventually`."""

    async def probe() -> bool:
        return condition()

    await eventually_async(probe, bool, what, timeout_s, every_s)


def _pauses(timeout_s: float, every_s: float) -> Iterator[float]:
    """Yield the pause after each attempt; the last attempt begins at the end of the time, however long one takes."""
    ends_at = time.monotonic() + timeout_s
    while (left_s := ends_at - time.monotonic()) > 0:
        yield min(every_s, left_s)
    yield 0
