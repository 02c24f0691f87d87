"""Waiting for what other connections or tasks do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(true: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Wait until a condition is true.

    Raises:
        TimeoutError: it is not within `within_s`.
    """
    async with asyncio.timeout(within_s):
        while not await true():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
