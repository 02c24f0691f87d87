"""Events published for a namespace's changes, in CloudEvents 1.0 format (docs/events.md).

They contain names, numbers and change types only, never a memory's text. All events of a namespace have the same key,
and each has a `sequence` greater than that of the previous one in the same epoch, so consumers can detect duplicates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from somabrain_service.domain.changes import LAST_ORDINAL, Change, ChangeType, Position
from somabrain_service.domain.names import NamespaceName, TenantId

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
DELETED = "io.somabrain.namespace.deleted.v1"
RESET = "io.somabrain.feed.reset.v1"
FEED_START = Position(0)
_LAST_POSITION = Position(2**63 - 1)


@dataclass(frozen=True, slots=True)
class OutboxCursor:
    """Position up to which a namespace's events are published, and the name and epoch they were published under."""

    tenant: TenantId
    ns: int
    name: NamespaceName
    epoch: str
    position: Position


@dataclass(frozen=True, slots=True)
class PendingChanges:
    """Changes of a namespace that are not yet published.

    `cursor` None: nothing was published yet. `version`: the newest. `changes`: those after the cursor that the feed
    still retains; `more`: further ones follow.
    """

    tenant: TenantId
    ns: int
    name: NamespaceName
    epoch: str
    version: int
    cursor: OutboxCursor | None
    changes: tuple[Change, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `key` is its namespace's, `traceparent` that of the causing call, empty if it was not traced."""

    key: str
    time: datetime
    document: dict[str, object]
    traceparent: str = ""

    def to_json(self) -> bytes:
        """Return the event in CloudEvents' JSON format."""
        return json.dumps(self.document, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one namespace in order, and the cursor before and after them; `new_cursor` None: it was deleted."""

    old_cursor: OutboxCursor
    events: tuple[Event, ...]
    new_cursor: OutboxCursor | None


def build_events(source: str, pending: PendingChanges, now: datetime) -> EventBatch:
    """Return the events of pending changes. `source` is the prefix of each event's source.

    If changes are missing after the cursor, or the namespace has a new epoch, a reset event comes first, so that no
    consumer mistakes a partial history for a complete one.
    """
    builder = _EventBuilder(source, pending.tenant, pending.name, pending.epoch)
    cursor = pending.cursor or OutboxCursor(pending.tenant, pending.ns, pending.name, pending.epoch, FEED_START)
    if cursor.epoch != pending.epoch:
        # The retained feed belongs partly to the former epoch: consumers must read the current state themselves.
        position = Position(pending.version)
        return EventBatch(cursor, (builder.reset_event(position, now),), _cursor_at(pending, position))
    events = []
    if pending.changes and not _is_next(cursor.position, pending.changes[0].position):
        events.append(builder.reset_event(_position_before(pending.changes[0].position), now))
    events += [builder.change_event(change) for change in pending.changes if change.type is not ChangeType.REINDEXED]
    position = pending.changes[-1].position if pending.more else Position(pending.version)
    return EventBatch(cursor, tuple(events), _cursor_at(pending, position))


def build_deletion_event(source: str, cursor: OutboxCursor, now: datetime) -> EventBatch:
    """Return the last event of a deleted namespace; it also covers changes that were never published."""
    builder = _EventBuilder(source, cursor.tenant, cursor.name, cursor.epoch)
    return EventBatch(cursor, (builder.event(DELETED, _LAST_POSITION, now, "deleted", {}),), None)


@dataclass(frozen=True, slots=True)
class _EventBuilder:
    """Builds events with the fields that all events of a namespace share."""

    source: str
    tenant: TenantId
    name: NamespaceName
    epoch: str

    def change_event(self, change: Change) -> Event:
        kind = change.type.name
        data = {
            "version": change.position.version,
            "memory": str(change.name),
            "change": kind,
            "revision": change.revision,
        }
        number = f"{change.position.version}-{change.position.ordinal}"
        return self.event(
            f"io.somabrain.memory.{kind.lower()}.v1",
            change.position,
            change.change_time,
            number,
            data,
            subject=str(change.name),
            traceparent=change.traceparent,
        )

    def reset_event(self, position: Position, now: datetime) -> Event:
        number = f"{position.version}-{position.ordinal}-reset"
        return self.event(RESET, position, now, number, {"version": position.version})

    def event(
        self,
        kind: str,
        position: Position,
        time: datetime,
        number: str,
        data: Mapping[str, object],
        subject: str = "",
        traceparent: str = "",
    ) -> Event:
        source = f"{self.source}/tenants/{self.tenant}/{self.name}"
        document: dict[str, object] = {
            "specversion": "1.0",
            "id": f"{self.epoch}-{number}",
            "source": source,
            "type": kind,
            "subject": subject or str(self.name),
            "time": time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "partitionkey": source,
            "sequence": f"{position.version:019d}.{position.ordinal:010d}",
            "data": {
                "tenant": str(self.tenant),
                "namespace": str(self.name),
                "epoch": self.epoch,
                **data,
            },
        }
        if traceparent:
            document["traceparent"] = traceparent  # CloudEvents' extension for distributed tracing
        return Event(source, time, document, traceparent)


def _cursor_at(pending: PendingChanges, position: Position) -> OutboxCursor:
    return OutboxCursor(pending.tenant, pending.ns, pending.name, pending.epoch, position)


def _is_next(position: Position, following: Position) -> bool:
    """Return True if no change is between them. A cursor stays within a version only if that has further changes."""
    if position.ordinal == LAST_ORDINAL:
        return following == Position(position.version + 1, 0)
    return following == Position(position.version, position.ordinal + 1)


def _position_before(position: Position) -> Position:
    """Return the position just before a change."""
    return Position(position.version, position.ordinal - 1) if position.ordinal else Position(position.version - 1)
