"""Conversion between protobuf and the domain checks bounds and loses no field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from common.errors import InvalidArgument
from somabrain.memory.v1 import memory_pb2, memory_service_pb2, namespace_service_pb2
from somabrain_service.domain.memory import Memory, MemoryKind
from somabrain_service.domain.names import MemoryId, MemoryName, NamespaceName
from somabrain_service.domain.recall import DegradedReason, Hit, RecallResult, ScoreBreakdown
from somabrain_service.servicers.convert import namespace
from somabrain_service.servicers.convert.memory import filter_from_proto, memory_draft_from_proto, memory_to_proto
from somabrain_service.servicers.convert.recall import recall_query_from_proto, recall_result_to_proto

TIME = datetime(2024, 2, 29, 12, 30, 1, 250_000, tzinfo=UTC)
MEMORY = Memory(
    name=MemoryName(NamespaceName("notes"), MemoryId(7)),
    text="We met in Ghent.",
    kind=MemoryKind.SEMANTIC,
    session="s",
    session_position=0,
    subject="ann",
    labels={"a": "b"},
    event_time=TIME,
    create_time=TIME,
    update_time=TIME,
    salience=0.0,
    expire_time=None,
    pinned=False,
    revision=1,
)


def test_memory_to_proto_preserves_fields() -> None:
    message = memory_to_proto(MEMORY)
    assert message.name == "namespaces/notes/memories/0000000000000007"
    assert message.text == MEMORY.text
    assert message.kind == memory_pb2.MEMORY_KIND_SEMANTIC
    assert message.HasField("session_position")
    assert message.session_position == 0
    assert message.HasField("salience")
    assert message.salience == 0.0
    assert message.event_time.ToDatetime(tzinfo=UTC) == TIME
    assert message.WhichOneof("expiration") is None
    assert message.etag == MEMORY.etag


def test_unset_fields_differ_from_zero() -> None:
    draft = memory_draft_from_proto(memory_pb2.Memory(text="x"))
    assert (draft.session_position, draft.salience, draft.event_time, draft.ttl) == (None, None, None, None)
    draft = memory_draft_from_proto(memory_pb2.Memory(text="x", session="s", session_position=0, salience=0.0))
    assert (draft.session_position, draft.salience) == (0, 0.0)


def test_kind_defaults_to_episodic_and_unknown_is_rejected() -> None:
    assert memory_draft_from_proto(memory_pb2.Memory(text="x")).kind is MemoryKind.EPISODIC
    with pytest.raises(InvalidArgument, match=r"memory\.kind"):
        memory_draft_from_proto(memory_pb2.Memory(text="x", kind=memory_pb2.MemoryKind.ValueType(99)))
    with pytest.raises(InvalidArgument, match=r"filter\.kinds\[1\]"):
        filter_from_proto(
            memory_pb2.MemoryFilter(kinds=[memory_pb2.MEMORY_KIND_EPISODIC, memory_pb2.MemoryKind.ValueType(0)])
        )


@pytest.mark.parametrize("seconds", [-(2**62), 2**62, 253_402_300_800])
def test_timestamp_out_of_range_is_rejected(seconds: int) -> None:
    with pytest.raises(InvalidArgument, match=r"memory\.event_time"):
        memory_draft_from_proto(memory_pb2.Memory(text="x", event_time=Timestamp(seconds=seconds)))


def test_nanos_out_of_range_are_rejected() -> None:
    with pytest.raises(InvalidArgument, match=r"memory\.event_time"):
        memory_draft_from_proto(memory_pb2.Memory(text="x", event_time=Timestamp(seconds=1, nanos=-1)))


@pytest.mark.parametrize("ttl", [Duration(seconds=2**62), Duration(seconds=1, nanos=-5), Duration(seconds=-1)])
def test_invalid_duration_is_rejected(ttl: Duration) -> None:
    with pytest.raises(InvalidArgument, match=r"memory\.ttl"):
        memory_draft_from_proto(memory_pb2.Memory(text="x", ttl=ttl))


def test_recall_requires_query_or_vector() -> None:
    with pytest.raises(InvalidArgument, match="query"):
        recall_query_from_proto(memory_service_pb2.RecallRequest(parent="namespaces/a"))
    vector = memory_pb2.Vector(values=[0.5])
    query = recall_query_from_proto(memory_service_pb2.RecallRequest(parent="namespaces/a", vector=vector))
    assert query.vector is not None
    assert query.min_score is None


def test_breakdown_is_returned_only_with_explain() -> None:
    part = ScoreBreakdown(0.25, 1.0, 0.5, 0.125, 1.0, 1.0)
    answer = RecallResult((Hit(MEMORY, 0.875, part),), (DegradedReason.REENCODING,), "e", "t", False, 0.25)
    assert not recall_result_to_proto(answer, explain=False).hits[0].HasField("breakdown")
    message = recall_result_to_proto(answer, explain=True)
    assert message.hits[0].breakdown == memory_pb2.ScoreBreakdown(
        lexical=0.25,
        lexical_relative=1.0,
        dense=0.5,
        contiguity=0.125,
        recency=1.0,
        salience=1.0,
        question=1.0,
        speaker=1.0,
    )
    assert list(message.degraded) == [memory_pb2.DEGRADED_REASON_REENCODING]


def test_namespace_settings_preserve_unset_fields() -> None:
    settings = namespace_service_pb2.NamespaceSettings(recency_half_life=Duration(seconds=60))
    draft = namespace.namespace_draft_from_proto(
        namespace_service_pb2.CreateNamespaceRequest(
            namespace_id="notes", namespace=namespace_service_pb2.Namespace(settings=settings)
        )
    )
    assert draft.settings.recency_half_life == timedelta(minutes=1)
    assert draft.settings.default_ttl is None
