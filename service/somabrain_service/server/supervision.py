"""Restarts the tasks that watch other servers and files.

Each of them knows the errors of what it watches. An error that it does not know must neither end the process, which
serves calls without any of them, nor the task alone, whose last finding would stay true for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from common.aio.backoff import Backoff
from somabrain_service.interceptors.errors import cause_chain

BACKOFF = Backoff(initial_s=1.0, cap_s=30.0)

_log = structlog.stdlib.get_logger(__name__)


async def supervise(name: str, watch: Callable[[], Awaitable[None]], backoff: Backoff = BACKOFF) -> None:
    """Run `watch` until it returns, or this task is cancelled; after an error log the error, and start it again."""
    failures = 0
    while True:
        try:
            await watch()
        except Exception as exc:  # noqa: BLE001 - the boundary of watchers: calls are served in any case
            failures += 1
            delay_s = backoff.delay_s(failures, random.random())  # noqa: S311 - spreads processes; no secret
            _log.error("watcher failed", watcher=name, causes=cause_chain(exc), again_in_s=round(delay_s, 1))
        else:
            return
        await asyncio.sleep(delay_s)
