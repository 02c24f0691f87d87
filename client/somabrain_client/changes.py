"""What watches and exports give: frozen values, and their protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_client.models import Memory
from somabrain_client.proto_mapping import memory_from_proto


class ChangeType(IntEnum):
    """What happened to a memory."""

    REMEMBERED = 1
    UPDATED = 2
    FORGOTTEN = 3
    EXPIRED = 4


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `memory` None: it is gone, or was not asked for. `cursor` resumes after it."""

    type: ChangeType
    name: str
    memory: Memory | None
    revision: int
    change_time: datetime
    cursor: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Nothing happened up to `time`; `cursor` resumes from there."""

    time: datetime
    cursor: str


@dataclass(frozen=True, slots=True)
class ExportedMemory:
    """A memory; `vector` None: there is none, or it was not asked for."""

    memory: Memory
    vector: tuple[float, ...] | None
    encoder_id: str


@dataclass(frozen=True, slots=True)
class ExportPage:
    """A part of an export. A watch from `cursor` misses nothing and repeats nothing of it."""

    memories: tuple[ExportedMemory, ...]
    resume_token: str
    cursor: str


def event_from_proto(message: pb.WatchMemoriesResponse) -> Change | Checkpoint:
    """Return an event of its protobuf."""
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
    """Return a part of an export of its protobuf."""
    memories = tuple(
        ExportedMemory(
            memory=memory_from_proto(item.memory),
            vector=tuple(item.vector.values) if item.HasField("vector") else None,
            encoder_id=item.vector.encoder_id,
        )
        for item in message.memories
    )
    return ExportPage(memories, message.resume_token, message.cursor)
