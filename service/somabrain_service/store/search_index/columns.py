"""Columns of the numbers and flags that filters and the scorer use; a row is stable while its memory exists.

Strings that filters compare (labels, sessions, subjects) are keys in `postings`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from somabrain_service.store.index_source import NEVER, MemoryRow
from somabrain_service.store.search_index.quantized_vectors import QuantizedVectors

NO_ROW = -1

_DTYPES = {
    "ids": np.int64,
    "alive": np.bool_,
    "kind": np.int16,
    "session": np.int32,
    "position": np.int64,
    "event_us": np.int64,
    "create_us": np.int64,
    "expire_us": np.int64,
    "salience": np.float64,
    "doc_length": np.int32,
    "pinned": np.bool_,
    "has_vector": np.bool_,
    "has_current_vector": np.bool_,
    "previous_row": np.int32,
    "next_row": np.int32,
}


class MemoryColumns:
    """Columns over `rows` rows, of which some may be free (`alive` false).

    `session` is a key id, negative without a session; `previous_row` and `next_row` are the rows of the neighbours in
    the session, by position, or NO_ROW. `has_vector`: of any encoder; `has_current_vector`: of the namespace's encoder,
    stored in `quantized`.
    """

    ids: NDArray[np.int64]
    alive: NDArray[np.bool_]
    kind: NDArray[np.int16]
    session: NDArray[np.int32]
    position: NDArray[np.int64]
    event_us: NDArray[np.int64]
    create_us: NDArray[np.int64]
    expire_us: NDArray[np.int64]
    salience: NDArray[np.float64]
    doc_length: NDArray[np.int32]
    pinned: NDArray[np.bool_]
    has_vector: NDArray[np.bool_]
    has_current_vector: NDArray[np.bool_]
    previous_row: NDArray[np.int32]
    next_row: NDArray[np.int32]
    quantized: QuantizedVectors

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[Any]] = {name: np.zeros(64, dtype) for name, dtype in _DTYPES.items()}
        self._allocate_vectors(0)
        self._row_of: dict[int, int] = {}
        self._free_rows: list[int] = []
        self.rows = 0
        self._rebind_views()

    @property
    def memories(self) -> int:
        """Number of memories."""
        return len(self._row_of)

    @property
    def size_bytes(self) -> int:
        """Approximate size in memory."""
        return sum(column.nbytes for column in self._buffers.values()) + 100 * len(self._row_of)

    def row(self, memory: int) -> int:
        """Return the row of a memory; NO_ROW: no such memory."""
        return self._row_of.get(memory, NO_ROW)

    def allocate_rows(self, count: int) -> list[int]:
        """Return `count` free rows."""
        reused = [self._free_rows.pop() for _ in range(min(count, len(self._free_rows)))]
        appended = list(range(self.rows, self.rows + count - len(reused)))
        self.rows += len(appended)
        capacity = len(self._buffers["ids"])
        if self.rows > capacity:
            # By an eighth: vectors are most of an index, and doubling the capacity would waste memory.
            growth = max(self.rows, capacity + capacity // 8) - capacity
            for name, column in self._buffers.items():
                self._buffers[name] = np.concatenate((column, np.zeros((growth, *column.shape[1:]), column.dtype)))
        self._rebind_views()
        return reused + appended

    def put(self, row: int, memory: MemoryRow, session: int) -> None:
        """Write a memory's fields; resets its neighbours and vector, which are set separately."""
        self._row_of[memory.id] = row
        self.ids[row], self.alive[row], self.kind[row] = memory.id, True, memory.kind
        self.session[row], self.position[row] = session, memory.position
        self.event_us[row], self.create_us[row], self.expire_us[row] = (
            memory.event_us,
            memory.create_us,
            memory.expire_us,
        )
        self.salience[row], self.doc_length[row], self.pinned[row] = memory.salience, memory.doc_length, memory.pinned
        self.previous_row[row] = self.next_row[row] = NO_ROW
        self.has_vector[row] = self.has_current_vector[row] = False

    def free_row(self, row: int) -> None:
        """Delete the memory at a row, and free the row."""
        del self._row_of[int(self.ids[row])]
        self._free_rows.append(row)
        for name, column in self._buffers.items():
            column[row] = NEVER if name == "expire_us" else 0

    def set_vectors(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Write vectors, float32[n, d], of the namespace's encoder. If d changes, all vectors are reset first."""
        if self.quantized.dimensions != vectors.shape[1]:
            self._allocate_vectors(vectors.shape[1])
            self._rebind_views()
        self.quantized[rows] = QuantizedVectors.quantize(vectors)
        self.has_vector[rows] = self.has_current_vector[rows] = True

    def _allocate_vectors(self, dimensions: int) -> None:
        zeros = QuantizedVectors.quantize(np.zeros((len(self._buffers["ids"]), dimensions), np.float32))
        self._buffers |= {name: getattr(zeros, name) for name in QuantizedVectors.__slots__}

    def _rebind_views(self) -> None:
        """Set the attributes to views of the rows in use."""
        for name in _DTYPES:
            setattr(self, name, self._buffers[name][: self.rows])
        self.quantized = QuantizedVectors(*(self._buffers[name][: self.rows] for name in QuantizedVectors.__slots__))
