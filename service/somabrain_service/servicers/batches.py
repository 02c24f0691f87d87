"""Batches: each item from protobuf as a single call's request would be, and what became of it back."""

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
from somabrain_service.domain.names import MemoryName
from somabrain_service.servicers.memories import read_draft, read_vector, write_memory

Check = Callable[[Message], None]
"""Refuses a request with fields that are not honoured or not the caller's to set."""
ToStatus = Callable[[Exception], status_pb2.Status]
"""What a caller is told of an error."""

Request = TypeVar("Request", bound=Message)
Read = TypeVar("Read")


def read_remember_items(batch: pb.BatchRememberRequest, check: Check) -> list[RememberItem | SomaBrainError]:
    """Return each item, or what is wrong with it.

    Raises:
        InvalidArgument: the batch is past its bounds.
    """
    _check_size(batch, len(batch.requests))

    def read(request: pb.RememberRequest) -> RememberItem:
        if request.parent not in ("", batch.parent):
            raise InvalidArgument("parent", "must be the batch's or empty; send one batch for each namespace")
        check(request)
        return RememberItem(read_draft(request.memory), read_vector(request), request.request_id)

    return _each(batch.requests, read)


def read_forget_items(batch: pb.BatchForgetRequest, check: Check) -> list[ForgetItem | SomaBrainError]:
    """Return each item, or what is wrong with it.

    Raises:
        InvalidArgument: the batch is past its bounds.
    """
    _check_size(batch, len(batch.requests))

    def read(request: pb.ForgetMemoryRequest) -> ForgetItem:
        check(request)
        name = MemoryName.parse(request.name)
        return ForgetItem(name, request.etag, request.request_id, request.allow_missing)

    return _each(batch.requests, read)


def write_remembered(result: Memory | SomaBrainError, to_status: ToStatus) -> pb.BatchRememberResult:
    """Return what became of an item."""
    if isinstance(result, SomaBrainError):
        return pb.BatchRememberResult(error=to_status(result))
    return pb.BatchRememberResult(memory=write_memory(result))


def write_forgotten(result: SomaBrainError | None, to_status: ToStatus) -> pb.BatchForgetResult:
    """Return what became of an item."""
    return pb.BatchForgetResult(status=status_pb2.Status() if result is None else to_status(result))


def _each(requests: Sequence[Request], read: Callable[[Request], Read]) -> list[Read | SomaBrainError]:
    items: list[Read | SomaBrainError] = []
    for request in requests:
        try:
            items.append(read(request))
        except SomaBrainError as exc:
            items.append(exc)
    return items


def _check_size(batch: Message, count: int) -> None:
    if count > limits.BATCH:
        raise InvalidArgument("requests", f"holds {count}, at most {limits.BATCH} are allowed; send several batches")
    if batch.ByteSize() > limits.BATCH_BYTES:
        raise InvalidArgument(
            "requests", f"has {batch.ByteSize()} bytes, at most {limits.BATCH_BYTES} are allowed; send several batches"
        )
