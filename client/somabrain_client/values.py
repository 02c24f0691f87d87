"""What the client gives and takes: frozen values, and their protobuf."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum
from typing import Literal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from somabrain.memory.v1 import memory_pb2, memory_service_pb2, namespace_service_pb2


class Kind(IntEnum):
    """What sort of memory it is; it only filters."""

    EPISODIC = 1
    SEMANTIC = 2
    PROCEDURAL = 3


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory as the service keeps it."""

    name: str
    text: str
    kind: Kind
    session: str
    session_position: int | None
    subject: str
    labels: Mapping[str, str]
    event_time: datetime
    create_time: datetime
    update_time: datetime
    salience: float
    expire_time: datetime | None
    pinned: bool
    revision: int
    etag: str
    consistency_token: str = field(default="", compare=False)
    """Of the write that answered with it: a read that is given it is not from before that write. Empty from a read."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text to be kept; what is left out has the contract's default.

    `vector` is the caller's own, of `encoder_id` (empty: the namespace's); without it the server makes one.
    `request_id` names the write across calls; without it each call is its own.
    """

    text: str
    kind: Kind = Kind.EPISODIC
    session: str = ""
    session_position: int | None = None
    subject: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    event_time: datetime | None = None
    salience: float | None = None
    expire_time: datetime | None = None
    ttl: timedelta | None = None
    pinned: bool = False
    vector: Sequence[float] | None = None
    encoder_id: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """How a score came to be; `lexical` is absolute, 0 to 1, and comparable between questions."""

    lexical: float
    lexical_relative: float
    dense: float
    contiguity: float
    recency: float
    salience: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that answers. `breakdown` None: it was not asked for."""

    memory: Memory
    score: float
    breakdown: Breakdown | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits, best first. `degraded` empty: the answer is all it can be."""

    hits: tuple[Hit, ...]
    degraded: tuple[str, ...]
    cached: bool
    encoder_id: str
    consistency_token: str
    truncated: bool
    best_lexical: float


class Unchanged(Enum):
    """Says of a setting that it stays as it is, where None takes it away."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED


@dataclass(frozen=True, slots=True)
class NamespaceStatistics:
    """What a namespace and its tenant hold; texts in bytes. A limit of 0 is none."""

    memory_count: int
    text_bytes: int
    vector_count: int
    unencoded_count: int
    unanalyzed_count: int
    session_count: int
    term_count: int
    oldest_cursor: str
    tenant_memory_limit: int
    tenant_memory_count: int
    tenant_byte_limit: int
    tenant_byte_count: int


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace as the service keeps it. `statistics` None: it was not asked for."""

    name: str
    display_name: str
    language: str
    encoder: str
    recency_half_life: timedelta | None
    default_ttl: timedelta | None
    feed_retention: timedelta
    version: int
    epoch: str
    etag: str
    statistics: NamespaceStatistics | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which memories are meant: every set field must hold; within a tuple any may."""

    labels: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[Kind, ...] = ()
    sessions: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    event_time_from: datetime | None = None
    event_time_until: datetime | None = None
    create_time_from: datetime | None = None
    create_time_until: datetime | None = None
    pinned: bool | None = None


def timestamp(value: datetime | None) -> Timestamp | None:
    """Return the protobuf of an aware time."""
    if value is None:
        return None
    message = Timestamp()
    message.FromDatetime(value)
    return message


def duration(value: timedelta | None) -> Duration | None:
    """Return the protobuf of a span."""
    if value is None:
        return None
    message = Duration()
    message.FromTimedelta(value)
    return message


def write_filter(chosen: Filter | None) -> memory_pb2.MemoryFilter | None:
    """Return the protobuf of a filter."""
    if chosen is None:
        return None
    return memory_pb2.MemoryFilter(
        labels=chosen.labels,
        kinds=[memory_pb2.MemoryKind.ValueType(kind.value) for kind in chosen.kinds],
        sessions=chosen.sessions,
        subjects=chosen.subjects,
        event_time_from=timestamp(chosen.event_time_from),
        event_time_until=timestamp(chosen.event_time_until),
        create_time_from=timestamp(chosen.create_time_from),
        create_time_until=timestamp(chosen.create_time_until),
        pinned=chosen.pinned,
    )


def write_draft(draft: Draft, parent: str) -> memory_service_pb2.RememberRequest:
    """Return the protobuf of a text to be kept; one without a request id gets one."""
    return memory_service_pb2.RememberRequest(
        parent=parent,
        memory=memory_pb2.Memory(
            text=draft.text,
            kind=memory_pb2.MemoryKind.ValueType(draft.kind.value),
            session=draft.session,
            session_position=draft.session_position,
            subject=draft.subject,
            labels=draft.labels,
            event_time=timestamp(draft.event_time),
            salience=draft.salience,
            expire_time=timestamp(draft.expire_time),
            ttl=duration(draft.ttl),
            pinned=draft.pinned,
        ),
        vector=(None if draft.vector is None else memory_pb2.Vector(values=draft.vector, encoder_id=draft.encoder_id)),
        request_id=draft.request_id or uuid.uuid4().hex,
    )


def read_draft(message: memory_service_pb2.RememberRequest) -> Draft:
    """Return the text to be kept of its protobuf."""
    memory = message.memory
    return Draft(
        text=memory.text,
        kind=Kind(memory.kind or Kind.EPISODIC),
        session=memory.session,
        session_position=_optional(memory, "session_position"),
        subject=memory.subject,
        labels=dict(memory.labels),
        event_time=_time(memory, "event_time") if memory.HasField("event_time") else None,
        salience=memory.salience if memory.HasField("salience") else None,
        expire_time=_time(memory, "expire_time") if memory.HasField("expire_time") else None,
        ttl=memory.ttl.ToTimedelta() if memory.HasField("ttl") else None,
        pinned=memory.pinned,
        vector=tuple(message.vector.values) if message.HasField("vector") else None,
        encoder_id=message.vector.encoder_id,
        request_id=message.request_id,
    )


def write_memory(memory: Memory) -> memory_pb2.Memory:
    """Return the protobuf of a memory."""
    return memory_pb2.Memory(
        name=memory.name,
        text=memory.text,
        kind=memory_pb2.MemoryKind.ValueType(memory.kind.value),
        session=memory.session,
        session_position=memory.session_position,
        subject=memory.subject,
        labels=memory.labels,
        event_time=timestamp(memory.event_time),
        create_time=timestamp(memory.create_time),
        update_time=timestamp(memory.update_time),
        salience=memory.salience,
        expire_time=timestamp(memory.expire_time),
        pinned=memory.pinned,
        revision=memory.revision,
        etag=memory.etag,
    )


_Times = Literal["event_time", "create_time", "update_time", "expire_time"]


def _time(message: memory_pb2.Memory, name: _Times) -> datetime:
    value: Timestamp = getattr(message, name)
    return value.ToDatetime(tzinfo=UTC)


def _optional(message: Message, name: str) -> int | None:
    value: int | None = getattr(message, name) if message.HasField(name) else None
    return value


def read_memory(message: memory_pb2.Memory, consistency_token: str = "") -> Memory:
    """Return a memory of its protobuf, and the token of the write that answered with it."""
    return Memory(
        name=message.name,
        text=message.text,
        kind=Kind(message.kind),
        session=message.session,
        session_position=_optional(message, "session_position"),
        subject=message.subject,
        labels=dict(message.labels),
        event_time=_time(message, "event_time"),
        create_time=_time(message, "create_time"),
        update_time=_time(message, "update_time"),
        salience=message.salience,
        expire_time=_time(message, "expire_time") if message.HasField("expire_time") else None,
        pinned=message.pinned,
        revision=message.revision,
        etag=message.etag,
        consistency_token=consistency_token,
    )


def read_answer(message: memory_service_pb2.RecallResponse) -> Answer:
    """Return an answer of its protobuf."""
    return Answer(
        hits=tuple(
            Hit(
                read_memory(hit.memory), hit.score, read_breakdown(hit.breakdown) if hit.HasField("breakdown") else None
            )
            for hit in message.hits
        ),
        degraded=tuple(
            memory_pb2.DegradedReason.Name(reason).removeprefix("DEGRADED_REASON_") for reason in message.degraded
        ),
        cached=message.cached,
        encoder_id=message.encoder_id,
        consistency_token=message.consistency_token,
        truncated=message.truncated,
        best_lexical=message.best_lexical,
    )


def read_breakdown(message: memory_pb2.ScoreBreakdown) -> Breakdown:
    """Return a breakdown of its protobuf."""
    return Breakdown(
        lexical=message.lexical,
        lexical_relative=message.lexical_relative,
        dense=message.dense,
        contiguity=message.contiguity,
        recency=message.recency,
        salience=message.salience,
    )


def read_namespace(message: namespace_service_pb2.Namespace) -> Namespace:
    """Return a namespace of its protobuf."""
    settings = message.settings
    return Namespace(
        name=message.name,
        display_name=message.display_name,
        language=settings.language,
        encoder=settings.encoder,
        recency_half_life=settings.recency_half_life.ToTimedelta() if settings.HasField("recency_half_life") else None,
        default_ttl=settings.default_ttl.ToTimedelta() if settings.HasField("default_ttl") else None,
        feed_retention=settings.feed_retention.ToTimedelta(),
        version=message.version,
        epoch=message.epoch,
        etag=message.etag,
        statistics=_read_statistics(message.statistics) if message.HasField("statistics") else None,
    )


def _read_statistics(message: namespace_service_pb2.NamespaceStatistics) -> NamespaceStatistics:
    return NamespaceStatistics(
        memory_count=message.memory_count,
        text_bytes=message.text_bytes,
        vector_count=message.vector_count,
        unencoded_count=message.unencoded_count,
        unanalyzed_count=message.unanalyzed_count,
        session_count=message.session_count,
        term_count=message.term_count,
        oldest_cursor=message.oldest_cursor,
        tenant_memory_limit=message.tenant_memory_limit,
        tenant_memory_count=message.tenant_memory_count,
        tenant_byte_limit=message.tenant_byte_limit,
        tenant_byte_count=message.tenant_byte_count,
    )
