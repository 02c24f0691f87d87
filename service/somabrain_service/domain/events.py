"""What is told outside of a namespace's changes: events, as CloudEvents 1.0 words them (docs/events.md).

Names, numbers and kinds of change only, never a memory's text. All events of a namespace have one key, and each has a
`sequence`, greater than that of the one before it in the same epoch; so whoever hears one twice can tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from somabrain_service.domain.feed import LAST_ORDINAL, Change, ChangeType, Position
from somabrain_service.domain.names import NamespaceName, TenantId

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
DELETED = "io.somabrain.namespace.deleted.v1"
RESET = "io.somabrain.feed.reset.v1"
BEGINNING = Position(0)
_LAST = Position(2**63 - 1)


@dataclass(frozen=True, slots=True)
class Told:
    """Up to which place the events of a namespace have been told, under which name and epoch."""

    tenant: TenantId
    ns: int
    name: NamespaceName
    epoch: str
    position: Position


@dataclass(frozen=True, slots=True)
class Backlog:
    """What of a namespace is still to be told.

    `told` None: nothing was yet. `version`: the newest. `changes` follow what was told, as far as they are kept;
    `more`: they are not all.
    """

    tenant: TenantId
    ns: int
    name: NamespaceName
    epoch: str
    version: int
    told: Told | None
    changes: tuple[Change, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `key` is that of its namespace, `traceparent` that of the call it came from, where it was traced."""

    key: str
    time: datetime
    document: dict[str, object]
    traceparent: str = ""

    def encoded(self) -> bytes:
        """The event in CloudEvents' JSON format."""
        return json.dumps(self.document, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Telling:
    """Events of one namespace in their order, and what will have been told with them; `told` None: it is gone."""

    of: Told
    events: tuple[Event, ...]
    told: Told | None


def tell(source: str, backlog: Backlog, now: datetime) -> Telling:
    """The events of a backlog. `source` begins the source of each.

    Where changes are missing between what was told and what follows, or the namespace has another history since, an
    event says so first: no consumer takes a part for the whole.
    """
    at = _At(source, backlog.tenant, backlog.name, backlog.epoch)
    was = backlog.told or Told(backlog.tenant, backlog.ns, backlog.name, backlog.epoch, BEGINNING)
    if was.epoch != backlog.epoch:
        # What is kept of the feed is partly of the former history: who listens must look for itself.
        position = Position(backlog.version)
        return Telling(was, (at.reset(position, now),), _told(backlog, position))
    events = []
    if backlog.changes and not _follows(was.position, backlog.changes[0].position):
        events.append(at.reset(_before(backlog.changes[0].position), now))
    events += [at.change(change) for change in backlog.changes if change.type is not ChangeType.REINDEXED]
    position = backlog.changes[-1].position if backlog.more else Position(backlog.version)
    return Telling(was, tuple(events), _told(backlog, position))


def tell_deleted(source: str, was: Told, now: datetime) -> Telling:
    """The event of a namespace that is gone with everything in it, also what was not told of it: the last of all."""
    at = _At(source, was.tenant, was.name, was.epoch)
    return Telling(was, (at.event(DELETED, _LAST, now, "deleted", {}),), None)


@dataclass(frozen=True, slots=True)
class _At:
    """What the events of a namespace have in common."""

    source: str
    tenant: TenantId
    name: NamespaceName
    epoch: str

    def change(self, change: Change) -> Event:
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

    def reset(self, position: Position, now: datetime) -> Event:
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


def _told(backlog: Backlog, position: Position) -> Told:
    return Told(backlog.tenant, backlog.ns, backlog.name, backlog.epoch, position)


def _follows(position: Position, following: Position) -> bool:
    """Whether nothing is between: a place within a version is only ever told when the version goes on after it."""
    if position.ordinal == LAST_ORDINAL:
        return following == Position(position.version + 1, 0)
    return following == Position(position.version, position.ordinal + 1)


def _before(position: Position) -> Position:
    """The place just before a change."""
    return Position(position.version, position.ordinal - 1) if position.ordinal else Position(position.version - 1)
