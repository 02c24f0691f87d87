"""Refuses what callers may not set: nothing is silently ignored.

It knows messages only by their descriptors; what is refused stands in `contract`. Bounds of values are the
domain's business.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message

from common.errors import InvalidArgument
from somabrain_service.interceptors import contract
from somabrain_service.interceptors.call import Call, Proceed


async def validate(call: Call, request: Message, proceed: Proceed) -> Message | None:
    """Let pass requests that set nothing of the server's own."""
    check_fields(request)
    return await proceed(call, request)


def check_fields(request: Message) -> None:
    """Hold the fields that are set against the table.

    Raises:
        InvalidArgument: an output-only field is set.
    """
    name = request.DESCRIPTOR.full_name
    output_only = contract.OUTPUT_ONLY.get(name, frozenset())
    if not output_only:
        return
    for path, spoken in set_fields(request):
        if path in output_only:
            raise InvalidArgument(spoken, "is set by the server alone; leave it unset")


def set_fields(message: Message, path: str = "", spoken: str = "") -> Iterator[tuple[str, str]]:
    """Yield each field that is set, by its path without and with indices, and what is set inside it."""
    for field, value in message.ListFields():
        here, said = f"{path}{field.name}", f"{spoken}{field.name}"
        yield here, said
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.is_repeated:
            for index, item in enumerate(value):
                yield from set_fields(item, f"{here}.", f"{said}[{index}].")
        else:
            yield from set_fields(value, f"{here}.", f"{said}.")
