"""Comparison of structural schemas, and of values with one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, cast

from somabrain_operator.kube.objects import Json, at, items, mapping

_INVALID: Final = object()


def missing_fields(required: Json, served: Json, path: str = "") -> Iterator[str]:
    """Yield the paths of the fields and enumerated values of `required` that `served` does not have."""
    for name, schema in mapping(required, "properties").items():
        field = f"{path}.{name}".removeprefix(".")
        if name in mapping(served, "properties"):
            yield from missing_fields(schema, at(served, "properties", name), field)
        else:
            yield field
    for keyword in ("items", "additionalProperties"):
        if keyword in mapping(required):
            yield from missing_fields(at(required, keyword), at(served, keyword), f"{path}[]")
    if served_values := items(served, "enum"):
        yield from (f"{path}={each}" for each in items(required, "enum") if each not in served_values)


def declared_part(value: Mapping[str, Json], schema: Json) -> Mapping[str, Json]:
    """Return what of an object a schema declares: the API server refuses an apply with more as a whole."""
    part = _declared_part(value, schema)
    return cast("Mapping[str, Json]", part) if isinstance(part, Mapping) else {}


def _declared_part(value: Json, schema: Json) -> Json | object:
    """Return what of a value a schema declares; _INVALID if a value is not enumerated, or a required field is lost."""
    if isinstance(value, Mapping):
        schemas = mapping(schema, "properties")
        parts = {name: _declared_part(each, schemas[name]) for name, each in value.items() if name in schemas}
        valid = {name: part for name, part in parts.items() if part is not _INVALID}
        return valid if all(name in valid for name in items(schema, "required")) else _INVALID
    if isinstance(value, (list, tuple)):
        return [part for each in value if (part := _declared_part(each, at(schema, "items"))) is not _INVALID]
    values = items(schema, "enum")
    return value if not values or value in values else _INVALID
