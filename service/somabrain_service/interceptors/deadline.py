"""Enforce deadlines: cancel a call, and everything it waits for, once its caller has stopped waiting.

A unary call without a deadline gets a default one: a server that may wait forever for callers that may be gone runs
out of memory.
"""

from __future__ import annotations

import asyncio

from google.protobuf.message import Message

from common.errors import DeadlineExceeded
from somabrain_service.interceptors.call import Call, CallNext

DEFAULT_DEADLINE_S = 60.0


async def enforce_deadline(call: Call, request: Message, call_next: CallNext) -> Message | None:
    """Cancel the call at its deadline; streams without a deadline are not limited."""
    remaining_s = call.context.time_remaining()
    if remaining_s is None and not call.streaming:
        remaining_s = DEFAULT_DEADLINE_S
    try:
        async with asyncio.timeout(remaining_s) as scope:
            return await call_next(call, request)
    except TimeoutError as exc:
        if not scope.expired():
            raise
        raise DeadlineExceeded("The call did not complete within its deadline. Allow it more time.") from exc
