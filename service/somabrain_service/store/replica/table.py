"""What filters and the scorer ask of each memory, a column each; a row is a memory's place while it is there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from somabrain_service.store.replica.planes import Planes
from somabrain_service.store.replica.portion import NEVER, Fields

NO_ROW = -1

_TYPES = {
    "ids": np.int64,
    "alive": np.bool_,
    "kind": np.int16,
    "session": np.int32,
    "position": np.int64,
    "event_us": np.int64,
    "create_us": np.int64,
    "expire_us": np.int64,
    "salience": np.float64,
    "length": np.int32,
    "pinned": np.bool_,
    "vector": np.bool_,
    "encoded": np.bool_,
    "before": np.int32,
    "after": np.int32,
}


class Table:
    """Columns over `rows` rows, of which some may be free (`alive` false).

    `session` is a number, negative for none; `before` and `after` are the rows of the neighbours in the session, by
    position. `vector`: it has one of any encoder; `encoded`: of the namespace's, whose row in `planes` counts.
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
    length: NDArray[np.int32]
    pinned: NDArray[np.bool_]
    vector: NDArray[np.bool_]
    encoded: NDArray[np.bool_]
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    planes: Planes

    def __init__(self) -> None:
        self._whole: dict[str, NDArray[Any]] = {name: np.zeros(64, dtype) for name, dtype in _TYPES.items()}
        self._make_planes(0)
        self._row_of: dict[int, int] = {}
        self._free: list[int] = []
        self.rows = 0
        self._show()

    @property
    def memories(self) -> int:
        """How many there are."""
        return len(self._row_of)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about."""
        return sum(column.nbytes for column in self._whole.values()) + 100 * len(self._row_of)

    def row(self, memory: int) -> int:
        """Where a memory is; NO_ROW: it is not there."""
        return self._row_of.get(memory, NO_ROW)

    def take_rows(self, count: int) -> list[int]:
        """Places for so many memories."""
        again = [self._free.pop() for _ in range(min(count, len(self._free)))]
        fresh = list(range(self.rows, self.rows + count - len(again)))
        self.rows += len(fresh)
        capacity = len(self._whole["ids"])
        if self.rows > capacity:
            # By an eighth: vectors are most of a replica, and room for twice as many would be bytes for nothing.
            more = max(self.rows, capacity + capacity // 8) - capacity
            for name, column in self._whole.items():
                self._whole[name] = np.concatenate((column, np.zeros((more, *column.shape[1:]), column.dtype)))
        self._show()
        return again + fresh

    def put(self, row: int, memory: Fields, session: int) -> None:
        """Write a memory's fields. Its neighbours and its vector are set by others."""
        self._row_of[memory.id] = row
        self.ids[row], self.alive[row], self.kind[row] = memory.id, True, memory.kind
        self.session[row], self.position[row] = session, memory.position
        self.event_us[row], self.create_us[row], self.expire_us[row] = (
            memory.event_us,
            memory.create_us,
            memory.expire_us,
        )
        self.salience[row], self.length[row], self.pinned[row] = memory.salience, memory.length, memory.pinned
        self.before[row] = self.after[row] = NO_ROW
        self.vector[row] = self.encoded[row] = False

    def drop(self, row: int) -> None:
        """Forget the memory at a row."""
        del self._row_of[int(self.ids[row])]
        self._free.append(row)
        for name, column in self._whole.items():
            column[row] = NEVER if name == "expire_us" else 0

    def keep_vectors(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Write vectors, float32[n, d], of the namespace's encoder. Their d never changes, or they are all new."""
        if self.planes.dimensions != vectors.shape[1]:
            self._make_planes(vectors.shape[1])
            self._show()
        self.planes[rows] = Planes.of(vectors)
        self.vector[rows] = self.encoded[rows] = True

    def _make_planes(self, dimensions: int) -> None:
        zeros = Planes.of(np.zeros((len(self._whole["ids"]), dimensions), np.float32))
        self._whole |= {name: getattr(zeros, name) for name in Planes.__slots__}

    def _show(self) -> None:
        """Let the attributes be the rows in use."""
        for name in _TYPES:
            setattr(self, name, self._whole[name][: self.rows])
        self.planes = Planes(*(self._whole[name][: self.rows] for name in Planes.__slots__))
