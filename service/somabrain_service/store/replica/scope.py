"""A filter as a mask over rows, as store/postgres/filters.py has it as SQL."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.store.replica.index import Index, label_key, session_key, subject_key
from somabrain_service.store.replica.table import Table

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _BEGINNING) // timedelta(microseconds=1)


def inside(where: MemoryFilter, table: Table, index: Index, now: datetime) -> NDArray[np.bool_]:
    """Which rows are meant: live memories that the filter lets through; bool[rows]."""
    meant = table.alive & (table.expire_us > microseconds(now))
    for key, value in where.labels.items():
        meant &= _having(index, [label_key(key, value)], table.rows)
    if where.kinds:
        meant &= np.isin(table.kind, [int(kind) for kind in where.kinds])
    if where.sessions:
        meant &= _having(index, map(session_key, where.sessions), table.rows)
    if where.subjects:
        meant &= _having(index, map(subject_key, where.subjects), table.rows)
    for times, begin, end in (
        (table.event_us, where.event_time_from, where.event_time_until),
        (table.create_us, where.create_time_from, where.create_time_until),
    ):
        if begin is not None:
            meant &= times >= microseconds(begin)
        if end is not None:
            meant &= times < microseconds(end)
    if where.pinned is not None:
        meant &= table.pinned == where.pinned
    return meant


def _having(index: Index, keys: Iterable[str], rows: int) -> NDArray[np.bool_]:
    """Which rows have one of the keys at least."""
    found = np.zeros(rows, np.bool_)
    for key in keys:
        found[index.rows(key)] = True
    return found
