"""Polling until a state is reached, with the last state in the error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
EVERY_S = 0.3


async def eventually(
    probe: Callable[[], Value],
    condition: Callable[[Value], bool],
    what: str,
    timeout_s: float = 60,
    every_s: float = EVERY_S,
) -> Value:
    """Call `probe` in a thread until `condition` is true of its result, and return that result.

    Raises:
        AssertionError: it was not true in time; the message is `what` and the last result.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = await asyncio.to_thread(probe)
        if condition(value):
            return value
        assert time.monotonic() < deadline, f"{what} within {timeout_s:g} s; last seen: {value}"
        await asyncio.sleep(every_s)
