"""JSON values as texts of memories: encoded without loss, and the words within them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somabrain_client.integrations.json_values import NO_WORDS, digest, encode, index_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_encoded_value_round_trips(value: object) -> None:
    """The encoded text is valid UTF-8, also for unpaired surrogates."""
    text = encode(value, "value")
    text.encode()
    assert json.loads(text) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, b"bytes"])
def test_value_without_json_form_is_rejected(value: object) -> None:
    with pytest.raises(ValueError, match=r"memory\.field is not a JSON value"):
        encode({"v": value}, "memory.field")


def test_index_text_contains_only_strings_and_numbers() -> None:
    value = {"title": "Reeds", "pages": [1, 2.5, None, True], "by": {"name": "Ada"}, "empty": " "}
    assert index_text(value) == "Reeds\n1\n2.5\nAda"
    assert index_text({"flag": True}, []) == NO_WORDS


@given(VALUES)
def test_index_text_is_valid_contract_text(value: object) -> None:
    """The index text is UTF-8 without NUL, and not empty."""
    text = index_text(value)
    assert text.encode()
    assert "\0" not in text


def test_digest_depends_on_part_boundaries() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab", "c") == digest("ab", "c")
    assert len(digest("x" * 1000)) == 64
