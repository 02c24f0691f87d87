"""Convert batches: each item from protobuf like a single call's request, and its result to protobuf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message
from google.rpc import status_pb2

from common.errors import InvalidArgument, SomaBrainError
from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_service.commands.batch_forget_memories import ForgetItem
from somabrain_service.commands.batch_remember_memories import RememberItem
from somabrain_service.domain import limits
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import parse_memory_ref
from somabrain_service.servicers.convert.memory import memory_draft_from_proto, memory_to_proto, vector_from_proto

CheckRequest = Callable[[Message], None]
"""Function that raises InvalidArgument if a request sets output-only fields."""
ToStatus = Callable[[Exception], status_pb2.Status]
"""Function that converts an error into the status for the caller."""

Request = TypeVar("Request", bound=Message)
Converted = TypeVar("Converted")


def remember_items_from_proto(
    batch: pb.BatchRememberRequest, check_request: CheckRequest
) -> list[RememberItem | SomaBrainError]:
    """Return each item, or its error if it is invalid.

    Raises:
        InvalidArgument: the batch exceeds its bounds.
    """
    _check_size(batch, len(batch.requests))

    def convert(request: pb.RememberRequest) -> RememberItem:
        if request.parent not in ("", batch.parent):
            raise InvalidArgument("parent", "must be the batch's or empty; send one batch for each namespace")
        check_request(request)
        return RememberItem(memory_draft_from_proto(request.memory), vector_from_proto(request), request.request_id)

    return _convert_each(batch.requests, convert)


def forget_items_from_proto(
    batch: pb.BatchForgetRequest, check_request: CheckRequest
) -> list[ForgetItem | SomaBrainError]:
    """Return each item, or its error if it is invalid.

    Raises:
        InvalidArgument: the batch exceeds its bounds.
    """
    _check_size(batch, len(batch.requests))

    def convert(request: pb.ForgetMemoryRequest) -> ForgetItem:
        check_request(request)
        name = parse_memory_ref(request.name)
        return ForgetItem(name, request.etag, request.request_id, request.allow_missing)

    return _convert_each(batch.requests, convert)


def remember_item_to_proto(result: Memory | SomaBrainError, to_status: ToStatus) -> pb.BatchRememberResult:
    """Return the result of an item."""
    if isinstance(result, SomaBrainError):
        return pb.BatchRememberResult(error=to_status(result))
    return pb.BatchRememberResult(memory=memory_to_proto(result))


def forget_item_to_proto(result: SomaBrainError | None, to_status: ToStatus) -> pb.BatchForgetResult:
    """Return the result of an item."""
    return pb.BatchForgetResult(status=status_pb2.Status() if result is None else to_status(result))


def _convert_each(
    requests: Sequence[Request], convert: Callable[[Request], Converted]
) -> list[Converted | SomaBrainError]:
    items: list[Converted | SomaBrainError] = []
    for request in requests:
        try:
            items.append(convert(request))
        except SomaBrainError as exc:
            items.append(exc)
    return items


def _check_size(batch: Message, count: int) -> None:
    if count > limits.MAX_BATCH_ITEMS:
        raise InvalidArgument(
            "requests", f"has {count} items, at most {limits.MAX_BATCH_ITEMS} are allowed; send several batches"
        )
    if batch.ByteSize() > limits.MAX_BATCH_BYTES:
        raise InvalidArgument(
            "requests",
            f"has {batch.ByteSize()} bytes, at most {limits.MAX_BATCH_BYTES} are allowed; send several batches",
        )
