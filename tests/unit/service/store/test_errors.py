"""Errors of PostgreSQL become sentences with a remedy, by their code."""

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
def test_a_refusal_is_unavailable_in_words_of_its_own(error: Exception, expected: str) -> None:
    translated = translate(error)
    assert isinstance(translated, StoreUnavailable)
    assert expected in translated.message


def test_a_connection_that_fell_silent_before_its_commit_is_tried_again() -> None:
    assert is_retryable(NoAnswer())
    assert not is_retryable(errors.ConnectionTimeout())
