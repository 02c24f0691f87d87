"""Errors of PostgreSQL and its driver are translated to messages with a remedy."""

from __future__ import annotations

import pytest
from psycopg import errors

from common.errors import StoreUnavailable
from somabrain_service.store.postgres.driver.errors import NoAnswer, is_retryable, translate


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.DiskFull(), "disk is full"),
        (errors.OutOfMemory(), "not enough memory"),
        (errors.QueryCanceled(), "did not answer in time"),
        (errors.ConnectionTimeout(), "did not answer in time"),
        (NoAnswer(), "did not answer in time"),
        (errors.UndefinedTable(), "run the migrations"),
        (errors.AdminShutdown(), "cannot be reached"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_postgresql_error_is_translated_to_store_unavailable(error: Exception, expected: str) -> None:
    translated = translate(error)
    assert isinstance(translated, StoreUnavailable)
    assert expected in translated.message


def test_lost_connection_before_commit_is_retryable() -> None:
    assert is_retryable(NoAnswer())
    assert not is_retryable(errors.ConnectionTimeout())
