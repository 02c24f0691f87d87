"""The waiter of `tests.support` for probes that block, such as kubectl."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from tests.support.waiting import eventually_async

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
    return await eventually_async(lambda: asyncio.to_thread(probe), condition, what, timeout_s, every_s)
