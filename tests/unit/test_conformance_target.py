"""Messages of `make conformance` about a server that is too old."""

from __future__ import annotations

import pytest

from tests.conformance.target import version_problems


@pytest.mark.parametrize(
    ("number", "version", "pgvector", "remedies"),
    [
        (16, "16.0", "0.7.0", []),
        (18, "18.4", "0.10.1", []),
        (15, "15.18", "0.8.5", ["16 is the oldest"]),
        (16, "16.0", "0.6.2", ["ALTER EXTENSION vector UPDATE"]),
        (15, "15.18", None, ["16 is the oldest", "CREATE EXTENSION vector"]),
    ],
)
def test_outdated_server_message_names_remedy(
    number: int, version: str, pgvector: str | None, remedies: list[str]
) -> None:
    """PostgreSQL before 16, pgvector before 0.7 and a missing pgvector give one message each."""
    problems = list(version_problems(number, version, pgvector))
    assert len(problems) == len(remedies)
    assert all(remedy in problem for remedy, problem in zip(remedies, problems, strict=True))
