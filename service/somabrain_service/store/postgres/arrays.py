"""Arrays as PostgreSQL reads them, without the driver's look at each element."""

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


def register_adapters(connection: psycopg.AsyncConnection[Any]) -> None:
    """Let a connection take vectors, float32[d]; CAST(CAST(... AS real[]) AS halfvec) keeps them as they are."""
    connection.adapters.register_dumper(np.ndarray, _Float4Dumper)


def texts(values: Iterable[str]) -> str:
    """Texts without NUL, of which PostgreSQL keeps none, for CAST(... AS text[])."""
    items = tuple(values)
    joined = "\0".join(items)
    if joined.count("\0") >= max(1, len(items)):
        raise ValueError("a text with NUL would be two")
    quoted = joined.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return f'{{"{quoted}"}}' if items else "{}"


def blobs(values: Iterable[bytes]) -> str:
    """Bytes, for CAST(... AS bytea[])."""
    return _array(f'"\\\\x{value.hex()}"' for value in values)


def numbers(values: Iterable[float | str | None]) -> str:
    """Numbers or truth values, or numbers as text already, for a CAST to an array of their type."""
    return _array(map(str, values)).replace("None", "NULL")


def times(values: Iterable[datetime | None]) -> str:
    """Aware times, for CAST(... AS timestamptz[])."""
    return _array("NULL" if value is None else value.isoformat() for value in values)


def _array(elements: Iterable[str]) -> str:
    return f"{{{','.join(elements)}}}"
