"""Assign each call an id: the caller's `x-request-id` if it is safe to log, else a new one."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace

import structlog
from google.protobuf.message import Message

from somabrain_service.interceptors.call import Call, CallNext

REQUEST_ID_HEADER = "x-request-id"
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


async def assign_request_id(call: Call, request: Message, call_next: CallNext) -> Message | None:
    """Bind the id to the log context and return it in the trailing metadata."""
    supplied = call.metadata.get(REQUEST_ID_HEADER, "")
    identifier = supplied if _VALID_REQUEST_ID.fullmatch(supplied) else uuid.uuid4().hex
    structlog.contextvars.bind_contextvars(request_id=identifier, method=call.method)
    call.context.set_trailing_metadata(((REQUEST_ID_HEADER, identifier),))
    return await call_next(replace(call, request_id=identifier), request)
