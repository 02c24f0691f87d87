"""Canonical serialization for hashing: equal values give equal bytes in every process and version."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Form = Callable[[Any], Json]


def canonical(value: Any) -> Json:
    """Return a value as canonical JSON. Fields at their default are omitted, so new fields do not change old forms."""
    return _form(value.__class__)(value)


@cache
def _form(kind: type[Any]) -> Form:
    """Return the serializer of a type; cached, because the lookup takes longer than serializing."""
    if dataclasses.is_dataclass(kind):
        return _dataclass_form(kind)
    for base, form in _FORMS:
        if issubclass(kind, base):
            return form
    return str


def _dataclass_form(kind: type[Any]) -> Form:
    fields = tuple((field.name, field.default) for field in dataclasses.fields(kind))

    def form(value: object) -> Json:
        document = {}
        for name, default in fields:
            v = getattr(value, name)
            if v is not default and (isinstance(v, np.ndarray) or v not in (default, (), {})):
                document[name] = canonical(v)
        return document

    return form


def _array_form(value: NDArray[Any]) -> Json:
    numbers: Json = hashlib.blake2b(value.tobytes(), digest_size=16).hexdigest() if len(value) >= 64 else value.tolist()
    return numbers


_FORMS: tuple[tuple[type[Any] | UnionType, Form], ...] = (
    (Enum, lambda value: canonical(value.value)),
    (str | int | float | NoneType, lambda value: value),
    (Mapping, lambda value: {str(key): canonical(value[key]) for key in sorted(value)}),
    (np.ndarray, _array_form),
    (tuple | list, lambda value: [canonical(item) for item in value]),
    (datetime, datetime.isoformat),
    (timedelta, timedelta.total_seconds),
)
"""Serializers by base type; the first match applies."""


def canonical_bytes(value: object) -> bytes:
    """Return `canonical` of a value, encoded as UTF-8 JSON."""
    return _JSON.encode(canonical(value)).encode("utf-8", "surrogatepass")


_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
