"""Reject requests that set output-only fields, instead of silently ignoring them.

The fields are those of `contract`, which reads the contract's annotations. The domain checks the bounds of values.
"""

from __future__ import annotations

from google.protobuf.message import Message

from common.errors import InvalidArgument
from somabrain_service.interceptors import contract
from somabrain_service.interceptors.call import Call, CallNext


async def validate(call: Call, request: Message, call_next: CallNext) -> Message | None:
    """Pass on requests that set no output-only field."""
    check_fields(request)
    return await call_next(call, request)


def check_fields(request: Message) -> None:
    """Check that the request's resource sets no output-only field.

    Raises:
        InvalidArgument: an output-only field is set.
    """
    resource, output_only = contract.UNSET_ON_CREATION.get(request.DESCRIPTOR.full_name, ("", ()))
    if not resource:
        return
    for field, _ in getattr(request, resource).ListFields():
        if field.name in output_only:
            raise InvalidArgument(f"{resource}.{field.name}", "is output only; leave it unset")
