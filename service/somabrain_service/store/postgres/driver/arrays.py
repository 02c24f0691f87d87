"""Arrays in PostgreSQL's formats, without the driver's inspection of each element."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from somabrain_service.domain.ranking.fixed_point import fixed_point

_FLOAT4, _FLOAT4_ARRAY = 700, 1021
_ELEMENT = np.dtype([("size", ">i4"), ("value", ">f4")])


class _Float4Dumper(Dumper):
    """Dumper of a vector, in fixed point, as binary real[]: header, then size and value of each element."""

    format = Format.BINARY
    oid = _FLOAT4_ARRAY

    def dump(self, obj: NDArray[np.float32]) -> Buffer:
        """Encode the array."""
        elements = np.empty(len(obj), _ELEMENT)
        elements["size"], elements["value"] = 4, fixed_point(obj)
        header = np.array([1, 0, _FLOAT4, len(obj), 1], ">i4")  # dimensions, nulls, type, length, first index
        return header.tobytes() + elements.tobytes()


def register_adapters(connection: psycopg.AsyncConnection[Any]) -> None:
    """Register the adapter for vectors, float32[d]; CAST(CAST(... AS real[]) AS halfvec) then loses nothing."""
    connection.adapters.register_dumper(np.ndarray, _Float4Dumper)


def texts(values: Iterable[str]) -> str:
    """Format texts without NUL, which PostgreSQL cannot store, for CAST(... AS text[]).

    Raises:
        ValueError: a text contains NUL.
    """
    items = tuple(values)
    joined = "\0".join(items)
    if joined.count("\0") >= max(1, len(items)):
        raise ValueError("a text contains NUL, which PostgreSQL cannot store")
    quoted = joined.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return f'{{"{quoted}"}}' if items else "{}"


def blobs(values: Iterable[bytes]) -> str:
    """Format bytes for CAST(... AS bytea[])."""
    return _array(f'"\\\\x{value.hex()}"' for value in values)


def numbers(values: Iterable[float | str | None]) -> str:
    """Format numbers, booleans, or numbers that are already text, for a CAST to an array of their type."""
    return _array(map(str, values)).replace("None", "NULL")


def times(values: Iterable[datetime | None]) -> str:
    """Format aware times for CAST(... AS timestamptz[])."""
    return _array("NULL" if value is None else value.isoformat() for value in values)


def _array(elements: Iterable[str]) -> str:
    return f"{{{','.join(elements)}}}"
