"""Python's collector of cycles, kept away from whoever waits.

A full collection looks at every object there is and holds up the event loop meanwhile, some 80 ms with a thousand
SomaBrains. Left alone, it comes whenever much has been made, which is in the middle of work.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 60.0
LONGEST_S: Final = 600.0
"""Work that never ends is interrupted this often."""
LOOK_S: Final = 0.1
_NEVER: Final = 1 << 30


async def collect_when_idle(
    is_idle: Callable[[], bool], *, every_s: float = EVERY_S, longest_s: float = LONGEST_S
) -> None:
    """Do full collections while nothing is to be done, until cancelled; of young objects Python does them as ever.

    Args:
        is_idle: whether nothing is to be done.
        every_s: how often, where there are idle moments.
        longest_s: after so long without one it is done all the same.
    """
    loop, before = asyncio.get_running_loop(), gc.get_threshold()
    gc.set_threshold(*before[:2], _NEVER)
    try:
        while True:
            await asyncio.sleep(every_s)
            ends_at_s = loop.time() + longest_s - every_s
            while not is_idle() and loop.time() < ends_at_s:  # noqa: ASYNC110 - it need not come at once
                await asyncio.sleep(LOOK_S)
            gc.collect()
    finally:
        gc.set_threshold(*before)
