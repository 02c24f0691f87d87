"""Watches and exports: from protobuf and back."""

from __future__ import annotations

from somabrain.memory.v1 import memory_pb2
from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_service.domain.changes import ExportPage, ExportQuery, WatchEvent, WatchQuery
from somabrain_service.domain.names import NamespaceName
from somabrain_service.servicers.memories import read_filter, write_memory
from somabrain_service.servicers.times import write_time


def read_watch(request: pb.WatchMemoriesRequest) -> WatchQuery:
    """Return what is watched.

    Raises:
        InvalidArgument: the parent is no namespace's name.
    """
    return WatchQuery(NamespaceName.parse(request.parent), request.cursor, request.include_memory)


def write_event(event: WatchEvent) -> pb.WatchMemoriesResponse:
    """Return a change or a checkpoint."""
    response = pb.WatchMemoriesResponse(cursor=event.cursor)
    if event.change is None:
        write_time(response.checkpoint.time, event.time)
        return response
    change = event.change
    response.change.type = pb.ChangeType.ValueType(change.type.value)
    response.change.name = str(change.name)
    response.change.revision = change.revision
    write_time(response.change.change_time, change.change_time)
    if event.memory is not None:
        response.change.memory.CopyFrom(write_memory(event.memory))
    return response


def read_export(request: pb.ExportMemoriesRequest) -> ExportQuery:
    """Return what is exported.

    Raises:
        InvalidArgument: a field is out of its bound.
    """
    return ExportQuery(
        NamespaceName.parse(request.parent), read_filter(request.filter), request.include_vectors, request.resume_token
    )


def write_export(page: ExportPage) -> pb.ExportMemoriesResponse:
    """Return one message of an export."""
    response = pb.ExportMemoriesResponse(resume_token=page.resume_token, cursor=page.cursor)
    for memory, vector in page.memories:
        exported = response.memories.add(memory=write_memory(memory))
        if vector is not None:
            exported.vector.CopyFrom(memory_pb2.Vector(values=vector.values.tolist(), encoder_id=vector.encoder_id))
    return response
