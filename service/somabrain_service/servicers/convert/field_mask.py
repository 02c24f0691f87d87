"""Convert updates of memories from protobuf."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from common.errors import InvalidArgument
from somabrain.memory.v1 import memory_pb2, memory_service_pb2
from somabrain_service.domain.memory import MemoryDraft, MemoryKind
from somabrain_service.domain.names import MemoryKey, MemoryRef
from somabrain_service.domain.patch import FIELDS, REPLACED_FIELDS, MemoryPatch
from somabrain_service.servicers.convert.memory import kind_from_proto, memory_draft_from_proto
from somabrain_service.servicers.convert.time import duration_from_proto, timestamp_from_proto

_IDENTITY_FIELDS = {"name", "etag"}


def memory_patch_from_proto(request: memory_service_pb2.UpdateMemoryRequest) -> MemoryPatch:
    """Return the patch. Without a mask: all fields that are set; `*`: all that can change but the key (AIP-134).

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
        key=memory.key,
        index_text=memory.index_text,
    )


def memory_creation_from_proto(
    request: memory_service_pb2.UpdateMemoryRequest, ref: MemoryRef
) -> Callable[[], MemoryDraft] | None:
    """Return what makes the draft of a memory that is missing; None: it is not to be created.

    Raises:
        InvalidArgument: the memory is not named by its key, or another key is set.
    """
    if not request.allow_missing:
        return None
    if not isinstance(ref, MemoryKey):
        raise InvalidArgument("allow_missing", "requires a name by key, `namespaces/{namespace}/keys/{key}`")
    if request.memory.key not in ("", ref.key):
        raise InvalidArgument("memory.key", "must be empty or the key of the name: allow_missing excludes a renaming")
    return lambda: dataclasses.replace(memory_draft_from_proto(request.memory), key=ref.key)


def _update_paths(request: memory_service_pb2.UpdateMemoryRequest) -> tuple[str, ...]:
    if request.HasField("update_mask"):
        paths = set(request.update_mask.paths)
        return tuple(sorted(REPLACED_FIELDS if paths == {"*"} else paths))
    fields = _set_fields(request.memory) - _IDENTITY_FIELDS
    for name in sorted(fields.difference(FIELDS)):
        raise InvalidArgument(
            f"memory.{name}", "is output only; leave it unset, or name the fields to change in update_mask"
        )
    return tuple(sorted(fields))


def _set_fields(memory: memory_pb2.Memory) -> set[str]:
    return {field.name for field, _ in memory.ListFields()}
