"""The message about an invalid DSN contains no part of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somabrain_service.store.postgres.driver.dsn import validate_dsn


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app:secret@postgres.soma-infra:5432/somabrain",
        "postgresql://app:s%40cr%2Fet@[::1]:5432/somabrain?sslmode=require",
        "postgresql://app:se:c?ret@a,b:5432,5433/somabrain",
        "postgresql://somabrain_app@/somabrain?host=%2Fvar%2Flib%2Fsomabrain",
        "host=127.0.0.1 port=5432 password=secret",
    ],
)
def test_valid_dsn_has_no_error(dsn: str) -> None:
    assert validate_dsn(dsn) is None


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("secret", "is not a libpq URL"),
        ("postgresql://app:sec ret@h/x", "is not a libpq URL"),
        ("postgresql://app@h/x?nope=secret", "is not a libpq URL"),
        # libpq would look up the host `cret@h`, and say so.
        ("postgresql://app:se@cret@h/x", "write %40 for @"),
        ("postgresql://app:12/secret@h/x", "%2F for /"),
        ("postgresql://app:se/cret@h/x", "%2F for /"),
    ],
)
def test_invalid_dsn_is_explained(dsn: str, expected: str) -> None:
    fault = validate_dsn(dsn)
    assert fault is not None
    assert expected in fault


@given(st.text())
def test_dsn_error_does_not_contain_password(password: str) -> None:
    """For any password, the message is one of the fixed ones, which contain no part of the DSN."""
    sentences = {validate_dsn(dsn) for dsn in ("secret", "postgresql://app:se@cret@h/x", "postgresql://app@h/x")}
    assert validate_dsn(f"postgresql://app:{password}@h/x") in sentences
