"""Wait for the world to be so, and say what it was when it never became so."""

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
    """Look, in a thread, until `holds` is true of what is seen; return that.

    Raises:
        AssertionError: it never was; the message is `what` and what was seen last.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = await asyncio.to_thread(probe)
        if condition(value):
            return value
        assert time.monotonic() < deadline, f"{what} within {timeout_s:g} s; last seen: {value}"
        await asyncio.sleep(every_s)
