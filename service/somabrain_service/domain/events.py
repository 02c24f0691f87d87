"""What is told outside of a namespace's changes: events, as CloudEvents 1.0 words them (docs/events.md).

Names, numbers and kinds of change only, never a memory's text. All events of a namespace have one key, and each has a
`sequence`, greater than that of the one before it in the same epoch; so whoever hears one twice can tell.
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
    """Up to which place the events of a namespace have been told, under which name and epoch."""

    tenant: TenantId
    ns: int
    name: NamespaceName
    epoch: str
    position: Position


@dataclass(frozen=True, slots=True)
class PendingChanges:
    """What of a namespace is still to be told.

    `told` None: nothing was yet. `version`: the newest. `changes` follow what was told, as far as they are kept;
    `more`: they are not all.
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
    """One event; `key` is that of its namespace, `traceparent` that of the call it came from, where it was traced."""

    key: str
    time: datetime
    document: dict[str, object]
    traceparent: str = ""

    def to_json(self) -> bytes:
        """The event in CloudEvents' JSON format."""
        return json.dumps(self.document, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one namespace in their order, and what will have been told with them; `told` None: it is gone."""

    old_cursor: OutboxCursor
    events: tuple[Event, ...]
    new_cursor: OutboxCursor | None


def build_events(source: str, pending: PendingChanges, now: datetime) -> EventBatch:
    """The events of a backlog. `source` begins the source of each.

    Where changes are missing between what was told and what follows, or the namespace has another history since, an
    event says so first: no consumer takes a part for the whole.
    """
    builder = _EventBuilder(source, pending.tenant, pending.name, pending.epoch)
    cursor = pending.cursor or OutboxCursor(pending.tenant, pending.ns, pending.name, pending.epoch, FEED_START)
    if cursor.epoch != pending.epoch:
        # What is kept of the feed is partly of the former history: who listens must look for itself.
        position = Position(pending.version)
        return EventBatch(cursor, (builder.reset_event(position, now),), _cursor_at(pending, position))
    events = []
    if pending.changes and not _is_next(cursor.position, pending.changes[0].position):
        events.append(builder.reset_event(_position_before(pending.changes[0].position), now))
    events += [builder.change_event(change) for change in pending.changes if change.type is not ChangeType.REINDEXED]
    position = pending.changes[-1].position if pending.more else Position(pending.version)
    return EventBatch(cursor, tuple(events), _cursor_at(pending, position))


def build_deletion_event(source: str, cursor: OutboxCursor, now: datetime) -> EventBatch:
    """The event of a namespace that is gone with everything in it, also what was not told of it: the last of all."""
    builder = _EventBuilder(source, cursor.tenant, cursor.name, cursor.epoch)
    return EventBatch(cursor, (builder.event(DELETED, _LAST_POSITION, now, "deleted", {}),), None)


@dataclass(frozen=True, slots=True)
class _EventBuilder:
    """What the events of a namespace have in common."""

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
            f"io.somabrain.memory.{kind.lower()}.v1", change.position, change.change_time, number, data,
            subject=str(change.name), traceparent=change.traceparent,
        )  # fmt: skip

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
    """Whether nothing is between: a place within a version is only ever told when the version goes on after it."""
    if position.ordinal == LAST_ORDINAL:
        return following == Position(position.version + 1, 0)
    return following == Position(position.version, position.ordinal + 1)


def _position_before(position: Position) -> Position:
    """The place just before a change."""
    return Position(position.version, position.ordinal - 1) if position.ordinal else Position(position.version - 1)
