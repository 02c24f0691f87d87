"""Memory filters as masks over rows; the counterpart of store/postgres/queries/filters.py."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.store.search_index.columns import MemoryColumns
from somabrain_service.store.search_index.postings import InvertedIndex, label_key, session_key, subject_key

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def unix_microseconds(time: datetime) -> int:
    """Return the microseconds since 1970."""
    return (time - _UNIX_EPOCH) // timedelta(microseconds=1)


def matching_rows(
    memory_filter: MemoryFilter, columns: MemoryColumns, index: InvertedIndex, now: datetime
) -> NDArray[np.bool_]:
    """Return the mask, bool[rows], of live memories that match the filter."""
    mask = columns.alive & (columns.expire_us > unix_microseconds(now))
    for key, value in memory_filter.labels.items():
        mask &= _rows_with_any_key(index, [label_key(key, value)], columns.rows)
    if memory_filter.kinds:
        mask &= np.isin(columns.kind, [int(kind) for kind in memory_filter.kinds])
    if memory_filter.sessions:
        mask &= _rows_with_any_key(index, map(session_key, memory_filter.sessions), columns.rows)
    if memory_filter.subjects:
        mask &= _rows_with_any_key(index, map(subject_key, memory_filter.subjects), columns.rows)
    for times, begin, end in (
        (columns.event_us, memory_filter.event_time_from, memory_filter.event_time_until),
        (columns.create_us, memory_filter.create_time_from, memory_filter.create_time_until),
    ):
        if begin is not None:
            mask &= times >= unix_microseconds(begin)
        if end is not None:
            mask &= times < unix_microseconds(end)
    if memory_filter.pinned is not None:
        mask &= columns.pinned == memory_filter.pinned
    return mask


def _rows_with_any_key(index: InvertedIndex, keys: Iterable[str], rows: int) -> NDArray[np.bool_]:
    """Return the mask of rows with at least one of the keys."""
    mask = np.zeros(rows, np.bool_)
    for key in keys:
        mask[index.rows(key)] = True
    return mask
