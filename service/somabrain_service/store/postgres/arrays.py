"""Arrays of numbers as PostgreSQL reads them, without a Python object a number on the way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from somabrain_service.domain.fixed_point import fixed_point

_FLOAT4, _FLOAT4_ARRAY = 700, 1021
_ELEMENT = np.dtype([("size", ">i4"), ("value", ">f4")])


class _Float4Dumper(Dumper):
    """A vector in fixed point as real[], in PostgreSQL's binary form: header, then size and value of each element."""

    format = Format.BINARY
    oid = _FLOAT4_ARRAY

    def dump(self, obj: NDArray[np.float32]) -> Buffer:
        """Write the array."""
        elements = np.empty(len(obj), _ELEMENT)
        elements["size"], elements["value"] = 4, fixed_point(obj)
        header = np.array([1, 0, _FLOAT4, len(obj), 1], ">i4")  # dimensions, nulls, type, length, first index
        return header.tobytes() + elements.tobytes()


def teach(connection: psycopg.AsyncConnection[Any]) -> None:
    """Let a connection take vectors, float32[d]; CAST(CAST(... AS real[]) AS halfvec) keeps them as they are."""
    connection.adapters.register_dumper(np.ndarray, _Float4Dumper)


def bigints(numbers: Iterable[int]) -> str:
    """Whole numbers, for CAST(... AS bigint[])."""
    return f"{{{','.join(map(str, numbers))}}}"
