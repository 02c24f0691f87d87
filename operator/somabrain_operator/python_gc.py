"""Python's collector of cycles, kept away from whoever waits.

A full collection looks at every object there is and holds up the event loop meanwhile, some 80 ms with a thousand
SomaBrains. Left alone, it comes whenever much has been made, which is in the middle of work.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

INTERVAL_S: Final = 60.0
MAX_INTERVAL_S: Final = 600.0
"""Work that never ends is interrupted this often."""
IDLE_CHECK_INTERVAL_S: Final = 0.1
_DISABLED_THRESHOLD: Final = 1 << 30


async def collect_when_idle(
    is_idle: Callable[[], bool], *, interval_s: float = INTERVAL_S, max_interval_s: float = MAX_INTERVAL_S
) -> None:
    """Do full collections while nothing is to be done, until cancelled; of young objects Python does them as ever.

    Args:
        is_idle: whether nothing is to be done.
        every_s: how often, where there are idle moments.
        longest_s: after so long without one it is done all the same.
    """
    loop, thresholds = asyncio.get_running_loop(), gc.get_threshold()
    gc.set_threshold(*thresholds[:2], _DISABLED_THRESHOLD)
    try:
        while True:
            await asyncio.sleep(interval_s)
            deadline_s = loop.time() + max_interval_s - interval_s
            while not is_idle() and loop.time() < deadline_s:  # noqa: ASYNC110 - it need not come at once
                await asyncio.sleep(IDLE_CHECK_INTERVAL_S)
            gc.collect()
    finally:
        gc.set_threshold(*thresholds)
