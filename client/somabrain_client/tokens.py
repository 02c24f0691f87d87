"""Where a bearer token comes from: a value, a file that is rotated on disk, or a callable."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

TokenSource = str | Path | Callable[[], str | Awaitable[str]]


class TokenError(ValueError):
    """What is there is no token; the message does not hold it."""


async def read_token(source: TokenSource) -> str:
    """Return the token as it is now; a file is read again each time, because a kubelet rotates it.

    Raises:
        TokenError: it is empty, or holds what cannot stand in a header.
        OSError: its file cannot be read.
    """
    if isinstance(source, str):
        return _checked(source, "The token given")
    if isinstance(source, Path):
        text = await asyncio.to_thread(source.read_text, encoding="ascii", errors="replace")
        return _checked(text.strip(), f"What {source} holds")
    token = source()
    return _checked(await token if inspect.isawaitable(token) else token, "What the callable returned")


def _checked(token: str, what: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise TokenError(f"{what} is no bearer token: letters, digits and -._~+/= alone, at least one.")
    return token


_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1
