"""Convert memories, vectors and filters from and to protobuf."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from common.errors import InvalidArgument
from somabrain.memory.v1 import memory_pb2 as pb
from somabrain_service.domain import limits
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.label_condition import LabelCondition, LabelOperator
from somabrain_service.domain.memory import Memory, MemoryDraft, MemoryKind, Vector
from somabrain_service.servicers.convert.time import duration_from_proto, set_timestamp, timestamp_from_proto

_KINDS = {kind.value: kind for kind in MemoryKind}
_OPERATOR_NAMES = [operator.name for operator in LabelOperator]
_OPERATORS = {operator.value: operator for operator in LabelOperator}
_INVALID_KIND = "must be MEMORY_KIND_EPISODIC, MEMORY_KIND_SEMANTIC or MEMORY_KIND_PROCEDURAL"


def memory_draft_from_proto(memory: pb.Memory) -> MemoryDraft:
    """Return the draft of a new memory.

    Raises:
        InvalidArgument: a field is out of its bound.
    """
    return MemoryDraft(
        text=memory.text,
        kind=kind_from_proto(memory.kind, "memory.kind") if memory.kind else MemoryKind.EPISODIC,
        session=memory.session,
        session_position=memory.session_position if memory.HasField("session_position") else None,
        subject=memory.subject,
        labels=dict(memory.labels),
        event_time=timestamp_from_proto(memory, "event_time", "memory.event_time"),
        salience=memory.salience if memory.HasField("salience") else None,
        expire_time=timestamp_from_proto(memory, "expire_time", "memory.expire_time"),
        ttl=duration_from_proto(memory, "ttl", "memory.ttl"),
        pinned=memory.pinned,
        key=memory.key,
        index_text=memory.index_text,
    )


def vector_from_proto(request: Message) -> Vector | None:
    """Return the request's `vector`; None if it is unset.

    Raises:
        InvalidArgument: its values are out of bounds, not finite, or all zero.
    """
    if not request.HasField("vector"):
        return None
    vector: pb.Vector = getattr(request, "vector")  # noqa: B009 - several requests have it
    return Vector.of(vector.values, vector.encoder_id)


def filter_from_proto(message: pb.MemoryFilter, depth: int = 1) -> MemoryFilter:
    """Return the filter, which is nested in `depth` - 1 others.

    Raises:
        InvalidArgument: a field is out of its bound.
    """
    if depth > limits.MAX_FILTER_DEPTH:
        raise InvalidArgument("filter", f"is nested more than {limits.MAX_FILTER_DEPTH} deep, which is the limit")
    if max(len(message.conditions), len(message.any_of), len(message.none_of)) > limits.MAX_FILTER_CLAUSES:
        raise InvalidArgument(
            "filter", f"has more than {limits.MAX_FILTER_CLAUSES} conditions or nested filters; use IN for many values"
        )
    return MemoryFilter(
        labels=dict(message.labels),
        kinds=tuple(_kinds_from_proto(message.kinds)),
        sessions=tuple(message.sessions),
        subjects=tuple(message.subjects),
        event_time_from=timestamp_from_proto(message, "event_time_from", "filter.event_time_from"),
        event_time_until=timestamp_from_proto(message, "event_time_until", "filter.event_time_until"),
        create_time_from=timestamp_from_proto(message, "create_time_from", "filter.create_time_from"),
        create_time_until=timestamp_from_proto(message, "create_time_until", "filter.create_time_until"),
        pinned=message.pinned if message.HasField("pinned") else None,
        key_prefix=message.key_prefix,
        conditions=tuple(_condition_from_proto(condition) for condition in message.conditions),
        any_of=tuple(filter_from_proto(each, depth + 1) for each in message.any_of),
        none_of=tuple(filter_from_proto(each, depth + 1) for each in message.none_of),
    )


def _condition_from_proto(message: pb.LabelCondition) -> LabelCondition:
    operator = _OPERATORS.get(message.operator)
    if operator is None:
        raise InvalidArgument(
            "filter.conditions.operator", f"must be one of {', '.join(o.name for o in LabelOperator)}"
        )
    return LabelCondition(message.label, operator, tuple(message.values))


def memory_to_proto(memory: Memory) -> pb.Memory:
    """Return the memory as a protobuf message."""
    message = pb.Memory(
        name=str(memory.name),
        text=memory.text,
        kind=pb.MemoryKind.ValueType(memory.kind.value),
        session=memory.session,
        session_position=memory.session_position,
        subject=memory.subject,
        labels=memory.labels,
        salience=memory.salience,
        pinned=memory.pinned,
        revision=memory.revision,
        etag=memory.etag,
        key=memory.key,
        index_text=memory.index_text,
    )
    set_timestamp(message.event_time, memory.event_time)
    set_timestamp(message.create_time, memory.create_time)
    set_timestamp(message.update_time, memory.update_time)
    if memory.expire_time is not None:
        set_timestamp(message.expire_time, memory.expire_time)
    return message


def _kinds_from_proto(kinds: Iterable[int]) -> Iterable[MemoryKind]:
    return (kind_from_proto(kind, f"filter.kinds[{index}]") for index, kind in enumerate(kinds))


def kind_from_proto(number: int, field_path: str) -> MemoryKind:
    """Return the kind.

    Raises:
        InvalidArgument: the number is unknown; the error names `field_path`.
    """
    kind = _KINDS.get(number)
    if kind is None:
        raise InvalidArgument(field_path, _INVALID_KIND)
    return kind
