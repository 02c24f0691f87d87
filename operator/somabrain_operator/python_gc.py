"""Scheduling of Python's full garbage collections at idle times.

A full collection visits every object and blocks the event loop meanwhile, some 80 ms with a thousand SomaBrains. By
default it runs after many allocations, which is in the middle of work.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

INTERVAL_S: Final = 60.0
MAX_INTERVAL_S: Final = 600.0
"""Maximum seconds between full collections if the operator is never idle."""
IDLE_CHECK_INTERVAL_S: Final = 0.1
_DISABLED_THRESHOLD: Final = 1 << 30


async def collect_when_idle(
    is_idle: Callable[[], bool], *, interval_s: float = INTERVAL_S, max_interval_s: float = MAX_INTERVAL_S
) -> None:
    """Run full collections while idle, until cancelled; Python still collects the young generations by itself.

    Args:
        is_idle: returns whether there is no work.
        interval_s: minimum seconds between full collections.
        max_interval_s: seconds after which one runs even without an idle moment.
    """
    loop, thresholds = asyncio.get_running_loop(), gc.get_threshold()
    gc.set_threshold(*thresholds[:2], _DISABLED_THRESHOLD)
    try:
        while True:
            await asyncio.sleep(interval_s)
            deadline_s = loop.time() + max_interval_s - interval_s
            while not is_idle() and loop.time() < deadline_s:  # noqa: ASYNC110 - it need not run at once
                await asyncio.sleep(IDLE_CHECK_INTERVAL_S)
            gc.collect()
    finally:
        gc.set_threshold(*thresholds)
