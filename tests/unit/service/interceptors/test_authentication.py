"""The bearer token of a call."""

from __future__ import annotations

import pytest

from common.auth.bearer import bearer_token


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("Bearer abc, Bearer def", None),
        (None, None),
    ],
)
def test_bearer_token_is_parsed_from_header(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token
