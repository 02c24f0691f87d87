"""Wait for the world to be so, and say what it was when it never became so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")
EVERY_S = 0.3


async def eventually(
    look: Callable[[], Seen], holds: Callable[[Seen], bool], what: str, timeout_s: float = 60, every_s: float = EVERY_S
) -> Seen:
    """Look, in a thread, until `holds` is true of what is seen; return that.

    Raises:
        AssertionError: it never was; the message is `what` and what was seen last.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen = await asyncio.to_thread(look)
        if holds(seen):
            return seen
        assert time.monotonic() < deadline, f"{what} within {timeout_s:g} s; last seen: {seen}"
        await asyncio.sleep(every_s)
