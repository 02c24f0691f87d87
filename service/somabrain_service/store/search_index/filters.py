"""Memory filters as the kernel takes them; the counterpart of store/postgres/queries/filters.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from somabrain_service.domain.filter import MemoryFilter

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def unix_microseconds(time: datetime) -> int:
    """Return the microseconds since 1970."""
    return (time - _UNIX_EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class IndexFilter:
    """Filter with the fields that `somabrain_kernel.Filter` has."""

    labels: Sequence[tuple[str, str]]
    kinds: Sequence[int]
    sessions: Sequence[str]
    subjects: Sequence[str]
    event_from_us: int | None
    event_until_us: int | None
    create_from_us: int | None
    create_until_us: int | None
    pinned: bool | None
    key_prefix: str
    conditions: Sequence[tuple[str, int, Sequence[str]]]
    any_of: Sequence[IndexFilter]
    none_of: Sequence[IndexFilter]


def index_filter(memory_filter: MemoryFilter) -> IndexFilter | None:
    """Return the filter as the kernel takes it; None: every memory matches."""
    return None if memory_filter.empty else _index_filter(memory_filter)


def _index_filter(memory_filter: MemoryFilter) -> IndexFilter:
    return IndexFilter(
        labels=list(memory_filter.labels.items()),
        kinds=[int(kind) for kind in memory_filter.kinds],
        sessions=memory_filter.sessions,
        subjects=memory_filter.subjects,
        event_from_us=_microseconds(memory_filter.event_time_from),
        event_until_us=_microseconds(memory_filter.event_time_until),
        create_from_us=_microseconds(memory_filter.create_time_from),
        create_until_us=_microseconds(memory_filter.create_time_until),
        pinned=memory_filter.pinned,
        key_prefix=memory_filter.key_prefix,
        conditions=[(each.label, int(each.operator), each.values) for each in memory_filter.conditions],
        any_of=[_index_filter(each) for each in memory_filter.any_of],
        none_of=[_index_filter(each) for each in memory_filter.none_of],
    )


def _microseconds(time: datetime | None) -> int | None:
    return None if time is None else unix_microseconds(time)
