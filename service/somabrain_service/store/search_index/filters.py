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
    """See `somabrain_kernel.Filter`."""

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


def index_filter(memory_filter: MemoryFilter) -> IndexFilter | None:
    """Return the filter as the kernel takes it; None: every memory matches."""
    if memory_filter.empty:
        return None
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
    )


def _microseconds(time: datetime | None) -> int | None:
    return None if time is None else unix_microseconds(time)
