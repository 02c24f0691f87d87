"""Filters of JSON fields: labels that let the server choose candidates, and the comparison that decides.

A field of a value has the label `v.NAME`. A number is its JSON, a text is preceded by a quotation mark, so that "7" is
not 7 and both keep their order. What no label holds (lists, objects, texts of more than 255 bytes) has `OPAQUE` for a
value; a field whose name is too long, or beyond the 60th, has no label, and `PARTIAL` marks a memory with such fields.
So the server finds every memory that matches, few others, and `matches` decides.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping

from somabrain_client.models import Condition, Filter

PREFIX = "v."
OPAQUE = "["
PARTIAL = "partial"
MAX_FIELDS = 60
"""Labels of fields: the adapter's own are the other four that a memory may have."""
MAX_LABEL_BYTES, MAX_VALUE_BYTES = 63, 256
MAX_COMPARISONS = 12
"""Comparisons that are sent to the server, which takes 128 conditions and nested filters; `matches` does the others."""

OPERATORS: Mapping[str, str] = {"$eq": "=", "$ne": "!=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def labels_of(value: Mapping[str, object]) -> dict[str, str]:
    """Return the labels of a value's fields."""
    labelled = [(label, each) for name, each in value.items() if (label := _label(name)) is not None][:MAX_FIELDS]
    labels = {label: _label_value(each) or OPAQUE for label, each in labelled}
    return labels if len(labels) == len(value) else {**labels, PARTIAL: "1"}


def candidates(conditions: Mapping[str, object]) -> tuple[Filter, ...]:
    """Return filters for `none_of`: a memory that meets the conditions matches not one of them."""
    return tuple(
        # A filter has one `any_of`, and each comparison needs its own: not (not a and not b) is a or b.
        Filter(none_of=_alternatives(name, operator, operand))
        for name, operator, operand in list(comparisons(conditions))[:MAX_COMPARISONS]
    )


def matches(value: Mapping[str, object], conditions: Mapping[str, object]) -> bool:
    """Return whether a value meets all conditions; a field that it does not have meets none."""
    return all(
        name in value and _compare(value[name], operator, operand)
        for name, operator, operand in comparisons(conditions)
    )


def comparisons(conditions: Mapping[str, object]) -> Iterator[tuple[str, str, object]]:
    """Yield the field, operator and operand of each comparison.

    Raises:
        ValueError: an operator is not supported, or orders by something that is not a number or a text.
    """
    for name, condition in conditions.items():
        if not (isinstance(condition, Mapping) and any(str(key).startswith("$") for key in condition)):
            yield name, "$eq", condition
            continue
        for operator, operand in condition.items():
            if operator not in OPERATORS:
                raise ValueError(f"filter.{name}: Unsupported operator: {operator}; use one of {', '.join(OPERATORS)}")
            if operator not in {"$eq", "$ne"} and not (_is_number(operand) or isinstance(operand, str)):
                raise ValueError(f"filter.{name}: {operator} compares numbers or texts, not {operand!r}")
            yield name, operator, operand


def _alternatives(name: str, operator: str, operand: object) -> tuple[Filter, ...]:
    """Return filters one of which every memory matches whose field meets the comparison."""
    partial = Filter(conditions=(Condition(PARTIAL, "exists"),))
    label = _label(name)
    if label is None:
        return (partial,)
    opaque = Filter(conditions=(Condition(label, "=", OPAQUE),))
    text = _label_value(operand)
    present = Condition(label, "exists")
    if text is not None:
        return Filter(conditions=(present, Condition(label, OPERATORS[operator], text))), opaque, partial
    return (opaque if operator == "$eq" else Filter(conditions=(present,))), partial


def _label(name: str) -> str | None:
    label = PREFIX + name
    return label if _fits(label, MAX_LABEL_BYTES) else None


def _label_value(value: object) -> str | None:
    """Return the label's value of a field's; None: no label can be compared with it."""
    if isinstance(value, str):
        text = '"' + value
    elif value is None or isinstance(value, bool) or _is_number(value):
        text = json.dumps(value)
    else:
        return None
    return text if _fits(text, MAX_VALUE_BYTES) else None


def _fits(text: str, max_bytes: int) -> bool:
    try:
        return "\0" not in text and len(text.encode()) <= max_bytes
    except UnicodeEncodeError:
        return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _compare(value: object, operator: str, operand: object) -> bool:
    match operator:
        case "$eq":
            return _equal(value, operand)
        case "$ne":
            return not _equal(value, operand)
        case "$gt":
            return _less(operand, value)
        case "$gte":
            return _less(operand, value) or _equal(value, operand)
        case "$lt":
            return _less(value, operand)
        case _:
            return _less(value, operand) or _equal(value, operand)


def _less(one: object, other: object) -> bool:
    """Return whether one is less: numbers by value, texts by their bytes; of different types neither is."""
    if isinstance(one, str) and isinstance(other, str):
        return one < other  # code points are in the order of their bytes in UTF-8
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    return isinstance(one, int | float) and isinstance(other, int | float) and one < other


def _equal(value: object, operand: object) -> bool:
    """Return whether two JSON values are equal, by type: 1 is 1.0, and neither is true."""
    match value, operand:
        case (bool(), _) | (_, bool()):
            return value is operand
        case Mapping(), Mapping():
            return value.keys() == operand.keys() and all(_equal(value[name], operand[name]) for name in value)
        case (list() | tuple(), list() | tuple()):
            return len(value) == len(operand) and all(_equal(*pair) for pair in zip(value, operand, strict=True))
        case _:
            return value == operand
