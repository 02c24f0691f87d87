"""Which rows have a key, and how often: terms, labels, sessions and subjects of memories, in one inverted index.

The first character of a key says what it is. A key is known as long as a row has it: what the last one lost is gone.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from somabrain_service.store.search_index.ragged_array import Numbers, RaggedArray

KEY_OVERHEAD_BYTES = 160
"""What a key takes, about: its string, its place in a table and in a list."""


def term_key(term: str) -> str:
    """The key of a term."""
    return f"t{term}"


def label_key(key: str, value: str) -> str:
    """The key of a label; neither part holds a NUL."""
    return f"l{key}\0{value}"


def session_key(session: str) -> str:
    """The key of a session."""
    return f"s{session}"


def subject_key(subject: str) -> str:
    """The key of a subject."""
    return f"u{subject}"


class InvertedIndex:
    """Keys and rows, both ways; the way back is what removes a row."""

    def __init__(self) -> None:
        self._key_ids: dict[str, int] = {}
        self._keys: list[str] = []
        self._free: list[int] = []
        self._postings = RaggedArray(2)
        self._row_keys = RaggedArray(1)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about."""
        return self._postings.size_bytes + self._row_keys.size_bytes + KEY_OVERHEAD_BYTES * len(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._key_ids

    def key_id(self, key: str) -> int:
        """The key's number, which it keeps while a row has it; -1: none has."""
        return self._key_ids.get(key, -1)

    def rows(self, key: str) -> NDArray[np.int32]:
        """The rows that have the key, in no order: a view that the next change may alter."""
        rows: NDArray[np.int32] = self.postings(key)[0]
        return rows

    def postings(self, key: str) -> Numbers:
        """Rows, and how often each has the key: int32[2, count]."""
        key_id = self._key_ids.get(key)
        return np.zeros((2, 0), np.int32) if key_id is None else self._postings.get(key_id)

    def add(self, key: str, rows: NDArray[np.int32], frequencies: NDArray[np.int32] | int = 1) -> int:
        """Let rows that have not have the key, and return its number. `bind` is to follow for each of the rows."""
        key_id = self._key_ids.get(key)
        if key_id is None:
            key_id = self._key_ids[key] = self._allocate_key_id(key)
        entries = np.empty((2, len(rows)), np.int32)
        entries[0], entries[1] = rows, frequencies
        self._postings.extend(key_id, entries)
        return key_id

    def record_keys(self, rows: NDArray[np.int32], key_ids: NDArray[np.int32]) -> None:
        """Note the way back: row rows[i] has the key of numbers[i]."""
        order = np.argsort(rows, kind="stable")
        rows, key_ids = rows[order], key_ids[order]
        ends = np.flatnonzero(np.diff(rows, append=-1)) + 1
        begin = 0
        for end in ends.tolist():
            self._row_keys.extend(int(rows[begin]), key_ids[np.newaxis, begin:end])
            begin = end

    def remove(self, row: int) -> None:
        """Take all its keys from a row."""
        for key_id in self._row_keys.get(row)[0].tolist():
            self._postings.remove(key_id, row)
            if not self._postings.count(key_id):
                del self._key_ids[self._keys[key_id]]
                self._keys[key_id] = ""
                self._free.append(key_id)
        self._row_keys.clear(row)

    def keys(self) -> Iterable[str]:
        """All keys that a row has."""
        return self._key_ids.keys()

    def _allocate_key_id(self, key: str) -> int:
        if self._free:
            key_id = self._free.pop()
            self._keys[key_id] = key
            return key_id
        self._keys.append(key)
        return len(self._keys) - 1
