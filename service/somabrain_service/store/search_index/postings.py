"""Inverted index of terms, labels, sessions and subjects: postings of rows and frequencies by key.

The first character of a key is its kind: `t` term, `l` label, `s` session, `u` subject. A key exists as long as a row
has it: with the last row it is removed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from somabrain_service.store.search_index.ragged_array import Numbers, RaggedArray

KEY_OVERHEAD_BYTES = 160
"""Approximate size of a key: its string, its entries in a dictionary and in a list."""


def term_key(term: str) -> str:
    """Return the key of a term."""
    return f"t{term}"


def label_key(key: str, value: str) -> str:
    """Return the key of a label; neither part contains NUL."""
    return f"l{key}\0{value}"


def session_key(session: str) -> str:
    """Return the key of a session."""
    return f"s{session}"


def subject_key(subject: str) -> str:
    """Return the key of a subject."""
    return f"u{subject}"


class InvertedIndex:
    """Rows by key, and keys by row, which the removal of a row needs."""

    def __init__(self) -> None:
        self._key_ids: dict[str, int] = {}
        self._keys: list[str] = []
        self._free: list[int] = []
        self._postings = RaggedArray(2)
        self._row_keys = RaggedArray(1)

    @property
    def size_bytes(self) -> int:
        """Approximate size in memory."""
        return self._postings.size_bytes + self._row_keys.size_bytes + KEY_OVERHEAD_BYTES * len(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._key_ids

    def key_id(self, key: str) -> int:
        """Return the key's id, stable while a row has the key; -1: no row has it."""
        return self._key_ids.get(key, -1)

    def rows(self, key: str) -> NDArray[np.int32]:
        """Return the rows with the key, unsorted: a view that the next change may alter."""
        rows: NDArray[np.int32] = self.postings(key)[0]
        return rows

    def postings(self, key: str) -> Numbers:
        """Return int32[2, count]: the rows with the key, and its frequency in each."""
        key_id = self._key_ids.get(key)
        return np.zeros((2, 0), np.int32) if key_id is None else self._postings.get(key_id)

    def add(self, key: str, rows: NDArray[np.int32], frequencies: NDArray[np.int32] | int = 1) -> int:
        """Add a key to rows that do not have it, and return its id. `record_keys` must follow for each of the rows."""
        key_id = self._key_ids.get(key)
        if key_id is None:
            key_id = self._key_ids[key] = self._allocate_key_id(key)
        entries = np.empty((2, len(rows)), np.int32)
        entries[0], entries[1] = rows, frequencies
        self._postings.extend(key_id, entries)
        return key_id

    def record_keys(self, rows: NDArray[np.int32], key_ids: NDArray[np.int32]) -> None:
        """Record for each i that rows[i] has the key key_ids[i]."""
        order = np.argsort(rows, kind="stable")
        rows, key_ids = rows[order], key_ids[order]
        ends = np.flatnonzero(np.diff(rows, append=-1)) + 1
        begin = 0
        for end in ends.tolist():
            self._row_keys.extend(int(rows[begin]), key_ids[np.newaxis, begin:end])
            begin = end

    def remove(self, row: int) -> None:
        """Remove a row from the postings of all its keys."""
        for key_id in self._row_keys.get(row)[0].tolist():
            self._postings.remove(key_id, row)
            if not self._postings.count(key_id):
                del self._key_ids[self._keys[key_id]]
                self._keys[key_id] = ""
                self._free.append(key_id)
        self._row_keys.clear(row)

    def keys(self) -> Iterable[str]:
        """Return all keys that at least one row has."""
        return self._key_ids.keys()

    def _allocate_key_id(self, key: str) -> int:
        if self._free:
            key_id = self._free.pop()
            self._keys[key_id] = key
            return key_id
        self._keys.append(key)
        return len(self._keys) - 1
