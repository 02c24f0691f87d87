"""Labels of JSON fields: within the contract's bounds, and comparisons by the type of a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somabrain_client.integrations.field_labels import OPAQUE, PARTIAL, candidates, labels_of, matches
from somabrain_client.models import Filter

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=300)
VALUES = st.dictionaries(st.text(max_size=90), SCALARS | st.lists(SCALARS, max_size=2), max_size=80)


@given(VALUES)
def test_labels_respect_memory_label_limits(value: dict[str, object]) -> None:
    """Labels are at most 64 with the adapter's own three, keys 1 to 63 bytes, values at most 256, without NUL."""
    labels = labels_of(value)
    assert len(labels) <= 61
    for label, text in labels.items():
        assert 1 <= len(label.encode()) <= 63
        assert len(text.encode()) <= 256
        assert "\0" not in label + text
    assert (PARTIAL in labels) == (len(labels) - (PARTIAL in labels) < len(value))


def test_labels_encode_value_types() -> None:
    value = {"number": 7, "text": "7", "yes": True, "none": None, "list": [7], "long": "x" * 256}
    assert labels_of(value) == {
        "v.number": "7", "v.text": '"7', "v.yes": "true", "v.none": "null", "v.list": OPAQUE, "v.long": OPAQUE
    }  # fmt: skip


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"n": 10}, True),
        ({"n": 10.0}, True),
        ({"n": "10"}, False),
        ({"n": True}, False),
        ({"n": {"$gt": 5, "$lt": 11}}, True),
        ({"n": {"$gte": 10, "$lte": 10}}, True),
        ({"n": {"$gt": "1"}}, False),
        ({"n": {"$ne": "10"}}, True),
        ({"missing": {"$ne": 1}}, False),
        ({"missing": None}, False),
        ({"s": {"$lt": "b"}}, True),
        ({"d": {"x": [1.0]}}, True),
        ({"d": {"x": [True]}}, False),
        ({}, True),
    ],
)
def test_conditions_compare_by_value_type(conditions: dict[str, object], expected: bool) -> None:
    assert matches({"n": 10, "s": "a", "d": {"x": [1]}}, conditions) is expected


@pytest.mark.parametrize("conditions", [{"n": {"$in": [1]}}, {"n": {"$gt": None}}, {"n": {"$lt": True}}])
def test_invalid_comparison_error_names_field(conditions: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"filter\.n"):
        matches({"n": 1}, conditions)


def test_candidate_filter_respects_contract_limits() -> None:
    """A filter has at most 128 conditions and nested filters, for any number of compared fields."""

    def size(each: Filter) -> int:
        nested = (*each.any_of, *each.none_of)
        return len(each.conditions) + len(nested) + sum(size(one) for one in nested)

    conditions = {f"field {number}": {"$gt": 1, "$ne": 3} for number in range(40)}
    assert size(Filter(none_of=candidates(conditions))) <= 128
