"""Which rows have a key, and how often: terms, labels, sessions and subjects of memories, in one inverted index.

The first character of a key says what it is. A key is known as long as a row has it: what the last one lost is gone.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from somabrain_service.store.replica.ragged import Numbers, Ragged

KEY_BYTES = 160
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


class Index:
    """Keys and rows, both ways; the way back is what removes a row."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._keys: list[str] = []
        self._free: list[int] = []
        self._rows = Ragged(2)
        self._keys_of = Ragged(1)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about."""
        return self._rows.size_bytes + self._keys_of.size_bytes + KEY_BYTES * len(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._numbers

    def number(self, key: str) -> int:
        """The key's number, which it keeps while a row has it; -1: none has."""
        return self._numbers.get(key, -1)

    def rows(self, key: str) -> NDArray[np.int32]:
        """The rows that have the key, in no order: a view that the next change may alter."""
        rows: NDArray[np.int32] = self.postings(key)[0]
        return rows

    def postings(self, key: str) -> Numbers:
        """Rows, and how often each has the key: int32[2, count]."""
        number = self._numbers.get(key)
        return np.zeros((2, 0), np.int32) if number is None else self._rows.get(number)

    def add(self, key: str, rows: NDArray[np.int32], times: NDArray[np.int32] | int = 1) -> int:
        """Let rows that have not have the key, and return its number. `bind` is to follow for each of the rows."""
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self._new(key)
        entries = np.empty((2, len(rows)), np.int32)
        entries[0], entries[1] = rows, times
        self._rows.extend(number, entries)
        return number

    def bind(self, rows: NDArray[np.int32], numbers: NDArray[np.int32]) -> None:
        """Note the way back: row rows[i] has the key of numbers[i]."""
        order = np.argsort(rows, kind="stable")
        rows, numbers = rows[order], numbers[order]
        ends = np.flatnonzero(np.diff(rows, append=-1)) + 1
        begin = 0
        for end in ends.tolist():
            self._keys_of.extend(int(rows[begin]), numbers[np.newaxis, begin:end])
            begin = end

    def remove(self, row: int) -> None:
        """Take all its keys from a row."""
        for number in self._keys_of.get(row)[0].tolist():
            self._rows.remove(number, row)
            if not self._rows.count(number):
                del self._numbers[self._keys[number]]
                self._keys[number] = ""
                self._free.append(number)
        self._keys_of.clear(row)

    def keys(self) -> Iterable[str]:
        """All keys that a row has."""
        return self._numbers.keys()

    def _new(self, key: str) -> int:
        if self._free:
            number = self._free.pop()
            self._keys[number] = key
            return number
        self._keys.append(key)
        return len(self._keys) - 1
