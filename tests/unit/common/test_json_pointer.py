"""JSON Pointer, by the examples of RFC 6901."""

from __future__ import annotations

import pytest

from common.auth import claims
from common.errors import ConfigurationError

DOCUMENT = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, "~": 9, "kubernetes.io": {"namespace": "a"}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/foo/2", None),
        ("/foo/-", None),
        ("/foo/00", None),
        ("/", 0),
        ("/a~1b", 1),
        ("/m~0n", 8),
        ("/m~n", 8),
        ("/~", 9),
        ("/kubernetes.io/namespace", "a"),
        ("/kubernetes.io/namespace/deeper", None),
        ("/nothing", None),
    ],
)
def test_resolve_follows_rfc_6901(text: str, value: object) -> None:
    assert claims.resolve(DOCUMENT, claims.parse(text, "auth.tenant_claim")) == value


def test_invalid_pointer_error_names_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"auth\.tenant_claim: 'tenant' is not a JSON Pointer"):
        claims.parse("tenant", "auth.tenant_claim")
