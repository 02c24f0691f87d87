"""Where a bearer token comes from: a value, a file that is rotated on disk, or a callable."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path

TokenSource = str | Path | Callable[[], str | Awaitable[str]]


async def read_token(source: TokenSource) -> str:
    """Return the token as it is now; a file is read again each time, because a kubelet rotates it."""
    if isinstance(source, str):
        return source
    if isinstance(source, Path):
        return (await asyncio.to_thread(source.read_text)).strip()
    token = source()
    return await token if inspect.isawaitable(token) else token
