"""Events have an unbroken order for consumers that keep the rule, in the form of CloudEvents."""

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


def backlog(
    *changes: Change, published: Position | None = None, version: int = 9, more: bool = False, epoch: str = "e1"
) -> PendingChanges:
    was = None if published is None else OutboxCursor(TENANT, 3, NAME, "e1", published)
    return PendingChanges(TENANT, 3, NAME, epoch, version, was, changes, more)


def kinds(batch: EventBatch) -> list[str]:
    return [str(event.document["type"]).removeprefix("io.somabrain.") for event in batch.events]


def sequences(events: tuple[Event, ...]) -> list[str]:
    return [str(event.document["sequence"]) for event in events]


def test_what_follows_is_told_and_nothing_else() -> None:
    telling = build_events("/s", backlog(change(4), change(5), published=Position(3), version=5), NOW)
    assert kinds(telling) == ["memory.remembered.v1"] * 2
    assert telling.new_cursor == OutboxCursor(TENANT, 3, NAME, "e1", Position(5))


def test_the_first_change_of_all_follows_nothing() -> None:
    assert kinds(build_events("/s", backlog(change(1), version=1), NOW)) == ["memory.remembered.v1"]


def test_where_changes_are_missing_an_event_says_so_before_the_rest() -> None:
    for published, first in (
        (None, change(4)),
        (Position(2), change(4)),
        (Position(4, 1), change(4, 3)),
        (Position(4, 1), change(5)),
        (Position(3), change(4, 2)),
    ):
        telling = build_events("/s", backlog(first, published=published, version=5), NOW)
        assert kinds(telling) == ["feed.reset.v1", "memory.remembered.v1"], (published, first)
        assert sequences(telling.events) == sorted(set(sequences(telling.events)))


def test_a_version_told_in_part_goes_on_after_its_part() -> None:
    begun = build_events("/s", backlog(change(4, 0), change(4, 1), published=Position(3), version=4, more=True), NOW)
    assert begun.new_cursor == OutboxCursor(TENANT, 3, NAME, "e1", Position(4, 1))
    rest = build_events("/s", backlog(change(4, 2), published=Position(4, 1), version=4), NOW)
    assert kinds(rest) == ["memory.remembered.v1"]
    assert rest.new_cursor == OutboxCursor(TENANT, 3, NAME, "e1", Position(4))


def test_another_history_is_told_from_its_newest_version_on() -> None:
    """After a restore only newer changes are published; consumers export what came before."""
    telling = build_events("/s", backlog(change(4), published=Position(3), version=4, epoch="e2"), NOW)
    assert kinds(telling) == ["feed.reset.v1"]
    assert telling.new_cursor == OutboxCursor(TENANT, 3, NAME, "e2", Position(4))


def test_the_end_of_a_namespace_comes_after_whatever_was_told_of_it() -> None:
    was = OutboxCursor(TENANT, 3, NAME, "e1", Position(4))
    end = build_deletion_event("/s", was, NOW)
    assert kinds(end) == ["namespace.deleted.v1"]
    assert end.new_cursor is None
    reset = build_events("/s", backlog(published=Position(3), version=4, epoch="e2"), NOW)
    late = build_events("/s", backlog(change(10**9), published=Position(10**9 - 1), version=10**9), NOW)
    assert sequences(end.events)[0] > max(sequences(reset.events) + sequences(late.events))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=6))
def test_however_tellers_begin_again_the_rule_hears_each_change_once_in_order(parts: list[tuple[int, int]]) -> None:
    """A consumer that keeps the rule gets each change once, in order, however publishers restart or overlap.

    Each part is the number of changes that one publisher sends, and how many of those it records as published. A later
    publisher starts from the record; the streams are then interleaved by turns.
    """
    feed = [change(version) for version in range(1, 13)]
    noted, streams = 0, []
    for through, recorded in parts:
        streams.append(feed[noted : noted + through])
        noted = max(noted, min(noted + recorded, noted + through, len(feed)))
    streams.append(feed[noted:])
    interleaved: list[Change] = []
    rest = [list(stream) for stream in streams]
    while any(rest):
        # A later teller has begun where an earlier one had noted, so what is before its beginning is out already.
        for number, stream in enumerate(rest):
            begun = streams[number][0].position.version if streams[number] else 0
            if stream and begun <= 1 + max((c.position.version for c in interleaved), default=0):
                interleaved.append(stream.pop(0))
    accepted: list[int] = []
    for each in interleaved:
        if each.position.version > (accepted[-1] if accepted else 0):
            accepted.append(each.position.version)
    assert accepted == list(range(1, 13))


def test_others_read_them_as_cloudevents() -> None:
    """The CloudEvents SDK reads what is sent to Kafka."""
    telling = build_events("/s", backlog(change(4), published=Position(3), version=4), NOW)
    (event,) = telling.events
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


def test_sequences_are_ordered_as_places_are() -> None:
    places = [Position(1), Position(2, 0), Position(2, 9), Position(2, 10), Position(2, LAST_ORDINAL), Position(10, 0)]
    last_sequences = [
        sequences(build_events("/s", backlog(change(p.version, p.ordinal), published=p, version=99), NOW).events)[-1]
        for p in places
    ]
    assert last_sequences == sorted(last_sequences)
    assert len(set(last_sequences)) == 6
