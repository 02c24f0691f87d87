"""Events are CloudEvents, in unbroken order for consumers that follow the sequence rule."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

from cloudevents.core.bindings.kafka import KafkaMessage, from_structured_event
from hypothesis import given
from hypothesis import strategies as st

from somabrain_service.domain.changes import LAST_ORDINAL, Change, ChangeType, Position
from somabrain_service.domain.names import MemoryId, MemoryName, NamespaceName, TenantId
from somabrain_service.events.cloudevents import (
    CONTENT_TYPE,
    Event,
    EventBatch,
    OutboxCursor,
    PendingChanges,
    build_deletion_event,
    build_events,
)

NOW = datetime(2026, 5, 1, 12, 0, 0, 5, tzinfo=UTC)
TENANT = TenantId(UUID(int=7))
NAME = NamespaceName("notes")


def change(version: int, ordinal: int = 0) -> Change:
    return Change(Position(version, ordinal), ChangeType.REMEMBERED, MemoryName(NAME, MemoryId(version)), 1, NOW)


def pending(
    *changes: Change, published: Position | None = None, version: int = 9, more: bool = False, epoch: str = "e1"
) -> PendingChanges:
    was = None if published is None else OutboxCursor(TENANT, 3, NAME, "e1", published)
    return PendingChanges(TENANT, 3, NAME, epoch, version, was, changes, more)


def kinds(batch: EventBatch) -> list[str]:
    return [str(event.document["type"]).removeprefix("io.somabrain.") for event in batch.events]


def sequences(events: tuple[Event, ...]) -> list[str]:
    return [str(event.document["sequence"]) for event in events]


def test_consecutive_changes_are_published_without_reset() -> None:
    batch = build_events("/s", pending(change(4), change(5), published=Position(3), version=5), NOW)
    assert kinds(batch) == ["memory.remembered.v1"] * 2
    assert batch.new_cursor == OutboxCursor(TENANT, 3, NAME, "e1", Position(5))


def test_first_change_needs_no_reset() -> None:
    assert kinds(build_events("/s", pending(change(1), version=1), NOW)) == ["memory.remembered.v1"]


def test_missing_changes_are_announced_by_reset_event() -> None:
    for published, first in (
        (None, change(4)),
        (Position(2), change(4)),
        (Position(4, 1), change(4, 3)),
        (Position(4, 1), change(5)),
        (Position(3), change(4, 2)),
    ):
        batch = build_events("/s", pending(first, published=published, version=5), NOW)
        assert kinds(batch) == ["feed.reset.v1", "memory.remembered.v1"], (published, first)
        assert sequences(batch.events) == sorted(set(sequences(batch.events)))


def test_partially_published_version_is_continued() -> None:
    partial = build_events("/s", pending(change(4, 0), change(4, 1), published=Position(3), version=4, more=True), NOW)
    assert partial.new_cursor == OutboxCursor(TENANT, 3, NAME, "e1", Position(4, 1))
    rest = build_events("/s", pending(change(4, 2), published=Position(4, 1), version=4), NOW)
    assert kinds(rest) == ["memory.remembered.v1"]
    assert rest.new_cursor == OutboxCursor(TENANT, 3, NAME, "e1", Position(4))


def test_new_epoch_starts_with_reset_at_newest_version() -> None:
    """After a restore only newer changes are published; consumers export what came before."""
    batch = build_events("/s", pending(change(4), published=Position(3), version=4, epoch="e2"), NOW)
    assert kinds(batch) == ["feed.reset.v1"]
    assert batch.new_cursor == OutboxCursor(TENANT, 3, NAME, "e2", Position(4))


def test_namespace_deleted_event_has_highest_sequence() -> None:
    was = OutboxCursor(TENANT, 3, NAME, "e1", Position(4))
    end = build_deletion_event("/s", was, NOW)
    assert kinds(end) == ["namespace.deleted.v1"]
    assert end.new_cursor is None
    reset = build_events("/s", pending(published=Position(3), version=4, epoch="e2"), NOW)
    late = build_events("/s", pending(change(10**9), published=Position(10**9 - 1), version=10**9), NOW)
    assert sequences(end.events)[0] > max(sequences(reset.events) + sequences(late.events))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=6))
def test_consumer_gets_each_change_once_despite_publisher_restarts(parts: list[tuple[int, int]]) -> None:
    """A consumer that follows the sequence rule gets each change once, in order, though publishers restart and overlap.

    Each part is the number of changes that one publisher sends, and how many of those it records as published. A later
    publisher starts from the record; the streams are then interleaved by turns.
    """
    feed = [change(version) for version in range(1, 13)]
    recorded_count, streams = 0, []
    for through, recorded in parts:
        streams.append(feed[recorded_count : recorded_count + through])
        recorded_count = max(recorded_count, min(recorded_count + recorded, recorded_count + through, len(feed)))
    streams.append(feed[recorded_count:])
    interleaved: list[Change] = []
    rest = [list(stream) for stream in streams]
    while any(rest):
        # A later publisher starts at the record of an earlier one, so what precedes its start is already published.
        for number, stream in enumerate(rest):
            start = streams[number][0].position.version if streams[number] else 0
            if stream and start <= 1 + max((c.position.version for c in interleaved), default=0):
                interleaved.append(stream.pop(0))
    accepted: list[int] = []
    for each in interleaved:
        if each.position.version > (accepted[-1] if accepted else 0):
            accepted.append(each.position.version)
    assert accepted == list(range(1, 13))


def test_events_are_readable_by_cloudevents_sdk() -> None:
    """The CloudEvents SDK reads what is sent to Kafka."""
    batch = build_events("/s", pending(change(4), published=Position(3), version=4), NOW)
    (event,) = batch.events
    read = from_structured_event(
        KafkaMessage(headers={"content-type": CONTENT_TYPE.encode()}, key=event.key.encode(), value=event.to_json())
    )
    assert read.get_id() == "e1-4-0"
    assert read.get_source() == f"/s/tenants/{TENANT}/namespaces/notes"
    assert read.get_type() == "io.somabrain.memory.remembered.v1"
    assert read.get_subject() == "namespaces/notes/memories/0000000000000004"
    assert read.get_time() == NOW
    assert read.get_specversion() == "1.0"
    assert (
        read.get_data()
        == json.loads(event.to_json())["data"]
        == {
            "tenant": str(TENANT),
            "namespace": "namespaces/notes",
            "epoch": "e1",
            "version": 4,
            "memory": "namespaces/notes/memories/0000000000000004",
            "change": "REMEMBERED",
            "revision": 1,
        }
    )


def test_sequences_are_ordered_like_positions() -> None:
    places = [Position(1), Position(2, 0), Position(2, 9), Position(2, 10), Position(2, LAST_ORDINAL), Position(10, 0)]
    last_sequences = [
        sequences(build_events("/s", pending(change(p.version, p.ordinal), published=p, version=99), NOW).events)[-1]
        for p in places
    ]
    assert last_sequences == sorted(last_sequences)
    assert len(set(last_sequences)) == 6
