"""Results of watches and exports: frozen values, and their conversion from protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_client.models import Memory
from somabrain_client.proto_mapping import memory_from_proto


class ChangeType(IntEnum):
    """Kind of change of a memory."""

    REMEMBERED = 1
    UPDATED = 2
    FORGOTTEN = 3
    EXPIRED = 4


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `memory` None: it no longer exists, or was not requested. `cursor` resumes after the change."""

    type: ChangeType
    name: str
    memory: Memory | None
    revision: int
    change_time: datetime
    cursor: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint: all changes up to `time` have been yielded; `cursor` resumes after it."""

    time: datetime
    cursor: str


@dataclass(frozen=True, slots=True)
class ExportedMemory:
    """A memory with its vector; `vector` None: it has no vector, or vectors were not requested."""

    memory: Memory
    vector: tuple[float, ...] | None
    encoder_id: str


@dataclass(frozen=True, slots=True)
class ExportPage:
    """One page of an export. A watch from `cursor` continues the export without gap or repetition."""

    memories: tuple[ExportedMemory, ...]
    resume_token: str
    cursor: str


def event_from_proto(message: pb.WatchMemoriesResponse) -> Change | Checkpoint:
    """Return the event of a protobuf message."""
    if message.HasField("checkpoint"):
        return Checkpoint(message.checkpoint.time.ToDatetime(tzinfo=UTC), message.cursor)
    change = message.change
    return Change(
        type=ChangeType(change.type),
        name=change.name,
        memory=memory_from_proto(change.memory) if change.HasField("memory") else None,
        revision=change.revision,
        change_time=change.change_time.ToDatetime(tzinfo=UTC),
        cursor=message.cursor,
    )


def export_page_from_proto(message: pb.ExportMemoriesResponse) -> ExportPage:
    """Return the page of an export of a protobuf message."""
    memories = tuple(
        ExportedMemory(
            memory=memory_from_proto(item.memory),
            vector=tuple(item.vector.values) if item.HasField("vector") else None,
            encoder_id=item.vector.encoder_id,
        )
        for item in message.memories
    )
    return ExportPage(memories, message.resume_token, message.cursor)
