"""Convert updates of memories from protobuf."""

from __future__ import annotations

from common.errors import InvalidArgument
from somabrain.memory.v1 import memory_pb2, memory_service_pb2
from somabrain_service.domain.memory import MemoryKind
from somabrain_service.domain.patch import FIELDS, MemoryPatch
from somabrain_service.servicers.convert.memory import kind_from_proto
from somabrain_service.servicers.convert.time import duration_from_proto, timestamp_from_proto

_IDENTITY_FIELDS = {"name", "etag"}


def memory_patch_from_proto(request: memory_service_pb2.UpdateMemoryRequest) -> MemoryPatch:
    """Return the patch. Without a mask: all fields that are set; `*`: all fields that can be changed (AIP-134).

    Raises:
        InvalidArgument: a field is out of its bound or cannot be changed.
    """
    memory = request.memory
    paths = _update_paths(request)
    return MemoryPatch(
        paths=paths,
        text=memory.text,
        kind=kind_from_proto(memory.kind, "memory.kind") if "kind" in paths and memory.kind else MemoryKind.EPISODIC,
        session=memory.session,
        session_position=memory.session_position if memory.HasField("session_position") else None,
        subject=memory.subject,
        labels=dict(memory.labels),
        event_time=timestamp_from_proto(memory, "event_time", "memory.event_time") if "event_time" in paths else None,
        salience=memory.salience if memory.HasField("salience") else None,
        expire_time=timestamp_from_proto(memory, "expire_time", "memory.expire_time")
        if "expire_time" in paths
        else None,
        ttl=duration_from_proto(memory, "ttl", "memory.ttl") if "ttl" in paths else None,
        pinned=memory.pinned,
    )


def _update_paths(request: memory_service_pb2.UpdateMemoryRequest) -> tuple[str, ...]:
    if request.HasField("update_mask"):
        paths = set(request.update_mask.paths)
        return tuple(sorted(FIELDS if paths == {"*"} else paths))
    fields = _set_fields(request.memory) - _IDENTITY_FIELDS
    for name in sorted(fields.difference(FIELDS)):
        raise InvalidArgument(
            f"memory.{name}", "is output only; leave it unset, or name the fields to change in update_mask"
        )
    return tuple(sorted(fields))


def _set_fields(memory: memory_pb2.Memory) -> set[str]:
    return {field.name for field, _ in memory.ListFields()}
