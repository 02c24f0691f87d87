"""Convert watches and exports from and to protobuf."""

from __future__ import annotations

from somabrain.memory.v1 import memory_pb2
from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_service.domain.changes import ExportPage, ExportQuery, WatchEvent, WatchQuery
from somabrain_service.domain.names import NamespaceName
from somabrain_service.servicers.convert.memory import filter_from_proto, memory_to_proto
from somabrain_service.servicers.convert.time import set_timestamp


def watch_query_from_proto(request: pb.WatchMemoriesRequest) -> WatchQuery:
    """Return the query of a watch.

    Raises:
        InvalidArgument: the parent is not a namespace name.
    """
    return WatchQuery(NamespaceName.parse(request.parent), request.cursor, request.include_memory)


def watch_event_to_proto(event: WatchEvent) -> pb.WatchMemoriesResponse:
    """Return the response for a change or a checkpoint."""
    response = pb.WatchMemoriesResponse(cursor=event.cursor)
    if event.change is None:
        set_timestamp(response.checkpoint.time, event.time)
        return response
    change = event.change
    response.change.type = pb.ChangeType.ValueType(change.type.value)
    response.change.name = str(change.name)
    response.change.revision = change.revision
    set_timestamp(response.change.change_time, change.change_time)
    if event.memory is not None:
        response.change.memory.CopyFrom(memory_to_proto(event.memory))
    return response


def export_query_from_proto(request: pb.ExportMemoriesRequest) -> ExportQuery:
    """Return the query of an export.

    Raises:
        InvalidArgument: a field is out of its bound.
    """
    return ExportQuery(
        NamespaceName.parse(request.parent),
        filter_from_proto(request.filter),
        request.include_vectors,
        request.resume_token,
    )


def export_page_to_proto(page: ExportPage) -> pb.ExportMemoriesResponse:
    """Return one message of an export."""
    response = pb.ExportMemoriesResponse(resume_token=page.resume_token, cursor=page.cursor)
    for memory, vector in page.memories:
        exported = response.memories.add(memory=memory_to_proto(memory))
        if vector is not None:
            exported.vector.CopyFrom(memory_pb2.Vector(values=vector.values.tolist(), encoder_id=vector.encoder_id))
    return response
