"""Parsing any document returns a value or raises InvalidJson."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.json_document import InvalidJson, parse_json


@given(st.text() | st.binary())
def test_any_input_parses_or_raises_invalid_json(text: str | bytes) -> None:
    try:
        parse_json(text)
    except InvalidJson:
        return


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_invalid(opening: str) -> None:
    with pytest.raises(InvalidJson, match="nested too deeply"):
        parse_json(opening * 100_000)


def test_error_message_does_not_contain_input() -> None:
    for text in ("sesame", '{"password": sesame}', b"\xffsesame"):
        with pytest.raises(InvalidJson) as caught:
            parse_json(text)
        assert "sesame" not in str(caught.value)
