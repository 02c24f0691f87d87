"""Missing fields of a schema are listed exactly, and a value is reduced to the declared fields."""

from __future__ import annotations

from typing import Any

from somabrain_operator.kube.schemas import declared_part, missing_fields

ITEM: dict[str, Any] = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"enum": ["A", "B"]}, "note": {"type": "string"}},
}
NEWER: dict[str, Any] = {"properties": {"items": {"items": ITEM}, "count": {"type": "integer"}}}
OLDER: dict[str, Any] = {
    "properties": {"items": {"items": {"required": ["type"], "properties": {"type": {"enum": ["A"]}}}}}
}


def test_equal_schemas_have_no_missing_fields() -> None:
    """A schema has every field of itself and of an older one."""
    assert [*missing_fields(NEWER, NEWER), *missing_fields(OLDER, NEWER)] == []


def test_missing_fields_and_enum_values_are_listed() -> None:
    """A field that an older schema lacks is named by its path."""
    assert list(missing_fields(NEWER, OLDER)) == ["items[].type=B", "items[].note", "count"]


def test_declared_part_drops_undeclared_fields() -> None:
    """Undeclared fields are left out, and items that would be invalid without them."""
    value: dict[str, Any] = {"items": [{"type": "A", "note": "n"}, {"type": "B"}], "count": 2}
    assert declared_part(value, OLDER) == {"items": [{"type": "A"}]}
    assert declared_part(value, NEWER) == value
