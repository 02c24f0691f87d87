"""Conversion between the client's values and the contract's protobuf messages."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import Literal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from somabrain.memory.v1 import memory_pb2, memory_service_pb2, namespace_service_pb2
from somabrain_client.models import (
    Breakdown,
    Condition,
    Filter,
    Hit,
    Memory,
    MemoryDraft,
    MemoryGroup,
    MemoryKind,
    Namespace,
    NamespaceStatistics,
    RecallResult,
    WordMatch,
)


def timestamp_to_proto(value: datetime | None) -> Timestamp | None:
    """Return the protobuf timestamp of a time; as in Python, a time without a zone is the machine's local time.

    Raises:
        ValueError: it has no zone, and as a local time it is before the year 1 or after the year 9999 in UTC.
    """
    if value is None:
        return None
    try:
        utc = value.astimezone(UTC)
    except (OverflowError, ValueError) as exc:
        raise ValueError(
            f"{value} cannot be converted to UTC, where years are 1 to 9999; give a time with tzinfo=UTC"
        ) from exc
    message = Timestamp()
    message.FromDatetime(utc)
    return message


def duration_to_proto(value: timedelta | None) -> Duration | None:
    """Return the protobuf of a duration."""
    if value is None:
        return None
    message = Duration()
    message.FromTimedelta(value)
    return message


def filter_to_proto(where: Filter | None) -> memory_pb2.MemoryFilter | None:
    """Return the protobuf of a filter."""
    if where is None:
        return None
    return memory_pb2.MemoryFilter(
        labels=where.labels,
        kinds=[memory_pb2.MemoryKind.ValueType(kind.value) for kind in where.kinds],
        sessions=where.sessions,
        subjects=where.subjects,
        event_time_from=timestamp_to_proto(where.event_time_from),
        event_time_until=timestamp_to_proto(where.event_time_until),
        create_time_from=timestamp_to_proto(where.create_time_from),
        create_time_until=timestamp_to_proto(where.create_time_until),
        pinned=where.pinned,
        key_prefix=where.key_prefix,
        conditions=[condition_to_proto(condition) for condition in where.conditions],
        any_of=[filter_to_proto(each) or memory_pb2.MemoryFilter() for each in where.any_of],
        none_of=[filter_to_proto(each) or memory_pb2.MemoryFilter() for each in where.none_of],
    )


_OPERATORS = {
    "=": memory_pb2.LABEL_OPERATOR_EQUAL,
    "!=": memory_pb2.LABEL_OPERATOR_NOT_EQUAL,
    "<": memory_pb2.LABEL_OPERATOR_LESS,
    "<=": memory_pb2.LABEL_OPERATOR_LESS_OR_EQUAL,
    ">": memory_pb2.LABEL_OPERATOR_GREATER,
    ">=": memory_pb2.LABEL_OPERATOR_GREATER_OR_EQUAL,
    "in": memory_pb2.LABEL_OPERATOR_IN,
    "prefix": memory_pb2.LABEL_OPERATOR_PREFIX,
    "exists": memory_pb2.LABEL_OPERATOR_EXISTS,
}


def condition_to_proto(condition: Condition) -> memory_pb2.LabelCondition:
    """Return the protobuf of a condition.

    Raises:
        ValueError: the operator is unknown, or a number is not finite.
    """
    operator = _OPERATORS.get(condition.operator)
    if operator is None:
        raise ValueError(f"{condition.operator!r} is not an operator; use one of {', '.join(_OPERATORS)}")
    value = condition.value
    values = () if value is None else (value,) if isinstance(value, str | int | float) else value
    return memory_pb2.LabelCondition(
        label=condition.label, operator=operator, values=[_operand(each) for each in values]
    )


def _operand(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number that labels are compared with; give a text or a finite number")
    return repr(value)


def draft_to_proto(draft: MemoryDraft, parent: str) -> memory_service_pb2.RememberRequest:
    """Return the protobuf of a draft; a draft without a request id gets a new one."""
    return memory_service_pb2.RememberRequest(
        parent=parent,
        memory=memory_pb2.Memory(
            text=draft.text,
            kind=memory_pb2.MemoryKind.ValueType(draft.kind.value),
            session=draft.session,
            session_position=draft.session_position,
            subject=draft.subject,
            labels=draft.labels,
            event_time=timestamp_to_proto(draft.event_time),
            salience=draft.salience,
            expire_time=timestamp_to_proto(draft.expire_time),
            ttl=duration_to_proto(draft.ttl),
            pinned=draft.pinned,
            key=draft.key,
            index_text=draft.index_text,
        ),
        vector=(None if draft.vector is None else memory_pb2.Vector(values=draft.vector, encoder_id=draft.encoder_id)),
        request_id=draft.request_id or uuid.uuid4().hex,
    )


def draft_from_proto(message: memory_service_pb2.RememberRequest) -> MemoryDraft:
    """Return the draft of a protobuf message."""
    memory = message.memory
    return MemoryDraft(
        text=memory.text,
        kind=MemoryKind(memory.kind or MemoryKind.EPISODIC),
        session=memory.session,
        session_position=_read_optional(memory, "session_position"),
        subject=memory.subject,
        labels=dict(memory.labels),
        event_time=_read_timestamp(memory, "event_time") if memory.HasField("event_time") else None,
        salience=memory.salience if memory.HasField("salience") else None,
        expire_time=_read_timestamp(memory, "expire_time") if memory.HasField("expire_time") else None,
        ttl=memory.ttl.ToTimedelta() if memory.HasField("ttl") else None,
        pinned=memory.pinned,
        vector=tuple(message.vector.values) if message.HasField("vector") else None,
        encoder_id=message.vector.encoder_id,
        request_id=message.request_id,
        key=memory.key,
        index_text=memory.index_text,
    )


def memory_to_proto(memory: Memory) -> memory_pb2.Memory:
    """Return the protobuf of a memory."""
    return memory_pb2.Memory(
        name=memory.name,
        text=memory.text,
        kind=memory_pb2.MemoryKind.ValueType(memory.kind.value),
        session=memory.session,
        session_position=memory.session_position,
        subject=memory.subject,
        labels=memory.labels,
        event_time=timestamp_to_proto(memory.event_time),
        create_time=timestamp_to_proto(memory.create_time),
        update_time=timestamp_to_proto(memory.update_time),
        salience=memory.salience,
        expire_time=timestamp_to_proto(memory.expire_time),
        pinned=memory.pinned,
        revision=memory.revision,
        etag=memory.etag,
        key=memory.key,
        index_text=memory.index_text,
    )


_TimestampField = Literal["event_time", "create_time", "update_time", "expire_time"]


def _read_timestamp(message: memory_pb2.Memory, name: _TimestampField) -> datetime:
    value: Timestamp = getattr(message, name)
    return value.ToDatetime(tzinfo=UTC)


def _read_optional(message: Message, name: str) -> int | None:
    value: int | None = getattr(message, name) if message.HasField(name) else None
    return value


def memory_from_proto(message: memory_pb2.Memory, consistency_token: str = "") -> Memory:
    """Return the memory of a protobuf message, with the consistency token of the write that returned it."""
    return Memory(
        name=message.name,
        text=message.text,
        kind=MemoryKind(message.kind),
        session=message.session,
        session_position=_read_optional(message, "session_position"),
        subject=message.subject,
        labels=dict(message.labels),
        event_time=_read_timestamp(message, "event_time"),
        create_time=_read_timestamp(message, "create_time"),
        update_time=_read_timestamp(message, "update_time"),
        salience=message.salience,
        expire_time=_read_timestamp(message, "expire_time") if message.HasField("expire_time") else None,
        pinned=message.pinned,
        revision=message.revision,
        etag=message.etag,
        key=message.key,
        index_text=message.index_text,
        consistency_token=consistency_token,
    )


def recall_result_from_proto(message: memory_service_pb2.RecallResponse) -> RecallResult:
    """Return the recall result of a protobuf message."""
    return RecallResult(
        hits=tuple(
            Hit(
                memory_from_proto(hit.memory),
                hit.score,
                breakdown_from_proto(hit.breakdown) if hit.HasField("breakdown") else None,
                tuple(WordMatch(each.query_word, each.memory_word, each.similarity) for each in hit.matches),
            )
            for hit in message.hits
        ),
        degraded=tuple(_degraded_reason(reason) for reason in message.degraded),
        cached=message.cached,
        encoder_id=message.encoder_id,
        consistency_token=message.consistency_token,
        truncated=message.truncated,
        best_lexical=message.best_lexical,
        best_match=_read_optional(message, "best_match"),
        next_page_token=message.next_page_token,
        state_changed=message.state_changed,
    )


def group_from_proto(message: memory_service_pb2.MemoryGroup) -> MemoryGroup:
    """Return the group of a protobuf message."""
    return MemoryGroup(
        value=message.value,
        memory_count=message.memory_count,
        last_event_time=message.last_event_time.ToDatetime(tzinfo=UTC),
        last_create_time=message.last_create_time.ToDatetime(tzinfo=UTC),
        last_update_time=message.last_update_time.ToDatetime(tzinfo=UTC),
    )


def _degraded_reason(number: memory_pb2.DegradedReason.ValueType) -> str:
    """Return a reason's name without prefix; its number if only a newer contract has it."""
    if number not in memory_pb2.DegradedReason.values():
        return str(number)
    return memory_pb2.DegradedReason.Name(number).removeprefix("DEGRADED_REASON_")


def breakdown_from_proto(message: memory_pb2.ScoreBreakdown) -> Breakdown:
    """Return the score breakdown of a protobuf message."""
    return Breakdown(
        lexical=message.lexical,
        lexical_relative=message.lexical_relative,
        dense=message.dense,
        contiguity=message.contiguity,
        recency=message.recency,
        salience=message.salience,
        match=message.match,
        meaning=message.meaning,
        question=message.question,
        speaker=message.speaker,
        truncated=message.truncated,
    )


def namespace_from_proto(message: namespace_service_pb2.Namespace) -> Namespace:
    """Return the namespace of a protobuf message."""
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
        content=settings.content,
        statistics=_statistics_from_proto(message.statistics) if message.HasField("statistics") else None,
    )


def _statistics_from_proto(message: namespace_service_pb2.NamespaceStatistics) -> NamespaceStatistics:
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
        token_vector_count=message.token_vector_count,
        token_bytes=message.token_bytes,
        tenant_token_byte_limit=message.tenant_token_byte_limit,
        tenant_token_byte_count=message.tenant_token_byte_count,
    )
