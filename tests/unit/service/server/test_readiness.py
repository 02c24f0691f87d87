"""A service that is not ready says why, and what to do."""

from __future__ import annotations

import pytest

from somabrain_service.server.http import postgres_check
from somabrain_service.server.readiness import ReadinessState, explain_incompatibility
from somabrain_service.store.records import SchemaState


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (SchemaState(None, None, 3), "no schema yet: run `somabrain-service migrate`"),
        (SchemaState(2, 1, 3), "is 2 and this version needs 3: run `somabrain-service migrate`"),
        (SchemaState(9, 8, 3), "compatible with 8 and newer, and this version has 3: run a newer version"),
    ],
)
def test_a_schema_that_does_not_fit_says_what_helps(schema: SchemaState, expected: str) -> None:
    assert not schema.compatible
    assert expected in explain_incompatibility(schema)


def test_postgresql_that_answers_is_healthy_even_if_its_schema_does_not_fit() -> None:
    assert postgres_check(ReadinessState(False, "no schema", 0.002)).to_json() == {"status": "ok", "latency_ms": 2.0}
    assert postgres_check(ReadinessState(False, "gone")).to_json() == {"status": "failing", "reason": "gone"}
