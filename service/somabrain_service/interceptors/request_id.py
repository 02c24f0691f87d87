"""Gives each call an id: the caller's `x-request-id` where it is fit to be logged, else a new one."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace

import structlog
from google.protobuf.message import Message

from somabrain_service.interceptors.call import Call, Proceed

HEADER = "x-request-id"
_FIT = re.compile(r"[A-Za-z0-9._-]{1,64}")


async def request_id(call: Call, request: Message, proceed: Proceed) -> Message | None:
    """Bind the id to the log and send it back in the trailing metadata."""
    given = call.metadata.get(HEADER, "")
    identifier = given if _FIT.fullmatch(given) else uuid.uuid4().hex
    structlog.contextvars.bind_contextvars(request_id=identifier, method=call.method)
    call.context.set_trailing_metadata(((HEADER, identifier),))
    return await proceed(replace(call, request_id=identifier), request)
