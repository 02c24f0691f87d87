"""Lists of numbers that grow and shrink independently, in one flat array; used for posting lists.

A Python object per list would take more memory than its entries. A list that exceeds its capacity moves to the end with
twice the capacity, and its former slice is zeroed at once: removed entries cannot be read from the array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int32]

_START, _COUNT, _CAPACITY = range(3)


class RaggedArray:
    """Lists numbered from 0; an entry has `columns` numbers, and the first one identifies it in its list."""

    def __init__(self, columns: int) -> None:
        self._data = np.zeros((columns, 256), np.int32)
        self._slices = np.zeros((3, 64), np.int64)
        self._used = 0

    @property
    def size_bytes(self) -> int:
        """Size in memory."""
        return self._data.nbytes + self._slices.nbytes

    def get(self, number: int) -> Numbers:
        """Return the list as int32[columns, count], a view that the next change may alter."""
        if number >= self._slices.shape[1]:
            return self._data[:, :0]
        start, count = self._slices[_START, number], self._slices[_COUNT, number]
        return self._data[:, start : start + count]

    def count(self, number: int) -> int:
        """Return the number of entries of the list."""
        return int(self._slices[_COUNT, number]) if number < self._slices.shape[1] else 0

    def extend(self, number: int, entries: Numbers) -> None:
        """Add entries, int32[columns, k]."""
        while number >= self._slices.shape[1]:
            self._slices = _doubled(self._slices)
        start, count, capacity = self._slices[:, number].tolist()
        needed = count + entries.shape[1]
        if needed > capacity:
            start = self._move(number, max(needed, 2 * capacity if capacity else 0))
        self._data[:, start + count : start + needed] = entries
        self._slices[_COUNT, number] = needed

    def remove(self, number: int, first: int) -> None:
        """Remove the entry of the list that begins with `first`; the last entry replaces it."""
        entries = self.get(number)
        (position,) = np.flatnonzero(entries[0] == first)
        entries[:, position] = entries[:, -1]
        entries[:, -1] = 0
        self._slices[_COUNT, number] -= 1

    def clear(self, number: int) -> None:
        """Remove all entries of the list."""
        self.get(number)[:] = 0
        if number < self._slices.shape[1]:
            self._slices[_COUNT, number] = 0

    def _move(self, number: int, capacity: int) -> int:
        """Move the list to the end of the array, with this capacity, and return its new start."""
        if self._used + capacity > self._data.shape[1]:
            self._repack()
            while self._used + capacity > self._data.shape[1]:
                self._data = _doubled(self._data)
        start, entries = self._used, self.get(number)
        self._data[:, start : start + entries.shape[1]] = entries
        entries[:] = 0
        self._slices[_START, number], self._slices[_CAPACITY, number] = start, capacity
        self._used += capacity
        return start

    def _repack(self) -> None:
        """Remove the gaps if they are half of the used array or more."""
        start, count, _ = self._slices
        total = int(count.sum())
        if 2 * total > self._used:
            return
        new_start = np.cumsum(count) - count
        source = np.repeat(start - new_start, count) + np.arange(total)
        packed = np.zeros_like(self._data)
        packed[:, :total] = self._data[:, source]
        self._data = packed
        self._slices = np.stack((new_start, count, count))
        self._used = total


def _doubled(array: NDArray[np.generic]) -> NDArray:  # type: ignore[type-arg]
    """Return the array with its last axis doubled, padded with zeros."""
    return np.concatenate((array, np.zeros_like(array)), axis=-1)
