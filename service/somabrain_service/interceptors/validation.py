"""Refuses what callers may not set: nothing is silently ignored.

It knows messages only by their descriptors; what is refused stands in `contract`. Bounds of values are the
domain's business.
"""

from __future__ import annotations

from google.protobuf.message import Message

from common.errors import InvalidArgument
from somabrain_service.interceptors import contract
from somabrain_service.interceptors.call import Call, CallNext


async def validate(call: Call, request: Message, call_next: CallNext) -> Message | None:
    """Let pass requests that set nothing of the server's own."""
    check_fields(request)
    return await call_next(call, request)


def check_fields(request: Message) -> None:
    """Hold the fields of the request's resource that are set against the table.

    Raises:
        InvalidArgument: an output-only field is set.
    """
    resource, output_only = contract.OUTPUT_ONLY.get(request.DESCRIPTOR.full_name, ("", ()))
    if not resource:
        return
    for field, _ in getattr(request, resource).ListFields():
        if field.name in output_only:
            raise InvalidArgument(f"{resource}.{field.name}", "is set by the server alone; leave it unset")
