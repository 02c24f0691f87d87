"""The client's values as messages of the contract, and back."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Literal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from somabrain.memory.v1 import memory_pb2, memory_service_pb2, namespace_service_pb2
from somabrain_client.values import Answer, Breakdown, Draft, Filter, Hit, Kind, Memory, Namespace, NamespaceStatistics


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
