"""A service that is not ready reports the cause and the remedy."""

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
def test_incompatible_schema_message_names_remedy(schema: SchemaState, expected: str) -> None:
    assert not schema.compatible
    assert expected in explain_incompatibility(schema)


def test_postgres_check_is_ok_with_incompatible_schema() -> None:
    assert postgres_check(ReadinessState(False, "no schema", 0.002)).to_json() == {"status": "ok", "latency_ms": 2.0}
    assert postgres_check(ReadinessState(False, "unreachable")).to_json() == {
        "status": "failing",
        "reason": "unreachable",
    }
