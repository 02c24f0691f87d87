"""Convert groups of memories, and their queries, to and from protobuf."""

from __future__ import annotations

from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_service.domain.names import NamespaceName
from somabrain_service.domain.pagination import GroupField, GroupQuery, MemoryGroup
from somabrain_service.servicers.convert.memory import filter_from_proto
from somabrain_service.servicers.convert.time import set_timestamp


def group_query_from_proto(
    request: pb.ListSessionsRequest | pb.ListSubjectsRequest, group_by: GroupField
) -> GroupQuery:
    """Return the query of a page of groups.

    Raises:
        InvalidArgument: a field is out of its bound.
    """
    return GroupQuery(
        parent=NamespaceName.parse(request.parent),
        group_by=group_by,
        page_size=request.page_size,
        page_token=request.page_token,
        filter=filter_from_proto(request.filter),
        consistency_token=request.consistency_token,
    )


def group_to_proto(group: MemoryGroup) -> pb.MemoryGroup:
    """Return the group as a protobuf message."""
    message = pb.MemoryGroup(value=group.value, memory_count=group.memories)
    set_timestamp(message.last_event_time, group.last_event_time)
    set_timestamp(message.last_create_time, group.last_create_time)
    set_timestamp(message.last_update_time, group.last_update_time)
    return message
