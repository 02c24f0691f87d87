"""Results of tools match the schemas that clients are given, with every field set and with none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from jsonschema import Draft202012Validator

from somabrain_client.mcp import results
from somabrain_client.mcp.tools import TOOLS
from somabrain_client.models import (
    Breakdown,
    Hit,
    Memory,
    MemoryGroup,
    MemoryGroupPage,
    MemoryKind,
    MemoryPage,
    RecallResult,
    WordMatch,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLAIN = Memory(
    "namespaces/n/memories/1", "text", MemoryKind.EPISODIC, "", None, "", {}, NOW, NOW, NOW, 0.5, None, False, 1, "e"
)
FULL = Memory(
    "namespaces/n/memories/2",
    "text",
    MemoryKind.SEMANTIC,
    "s",
    0,
    "alice",
    {"a": "b"},
    NOW,
    NOW + timedelta(1),
    NOW + timedelta(2),
    0.9,
    NOW + timedelta(9),
    True,
    3,
    "e",
    "key",
    "index",
)
NEUTRAL = Breakdown(0, 0, 0, 0, 1, 1)
PARTS = Breakdown(0.1234567, 1, 0.2, 0.3, 0.9, 1.1, 0.4, 0.5, 0.6, 1.2, True)


def test_memory_result_omits_default_values() -> None:
    """A plain memory has its name, text, time and etag; a full one every field of the schema."""
    assert results.memory_result(PLAIN) == {
        "name": "namespaces/n/memories/1",
        "text": "text",
        "event_time": "2026-01-02T03:04:05+00:00",
        "etag": "e",
    }
    assert results.memory_result(FULL).keys() == results.MEMORY_SCHEMA["properties"].keys()
    assert results.memory_result(FULL)["session_position"] == 0


def test_breakdown_lists_non_neutral_score_parts() -> None:
    result = RecallResult((Hit(PLAIN, 0.5, NEUTRAL), Hit(FULL, 0.4, PARTS)), (), False, "", "", False, 0.0)
    hits = results.recall_result(result)["hits"]
    assert hits[0]["breakdown"] == {}
    assert hits[1]["breakdown"] == {
        "lexical": 0.123457,
        "lexical_relative": 1,
        "dense": 0.2,
        "contiguity": 0.3,
        "recency": 0.9,
        "salience": 1.1,
        "match": 0.4,
        "meaning": 0.5,
        "question": 0.6,
        "speaker": 1.2,
        "truncated": True,
    }


def test_results_match_their_schemas() -> None:
    """Every result is valid, with few fields or all, with further pages, degraded and truncated."""
    group = MemoryGroup("s", 2, NOW, NOW, NOW)
    match = WordMatch("tea", "coffee", 0.5)
    for memory in (PLAIN, FULL):
        validate(results.MEMORY_SCHEMA, results.memory_result(memory))
        validate(results.MEMORIES_SCHEMA, results.memories_result(MemoryPage((memory,), "")))
        validate(results.MEMORIES_SCHEMA, results.memories_result(MemoryPage((memory, memory), "next")))
        for breakdown in (None, NEUTRAL, PARTS):
            hits = (Hit(memory, 0.5, breakdown, (match,)), Hit(memory, 0.4, breakdown))
            plain = RecallResult(hits, (), False, "", "", False, 0.0)
            full = RecallResult(hits, ("NO_TERMS",), True, "e", "t", True, 0.1, 0.7, "next", True)
            validate(results.RECALL_SCHEMA, results.recall_result(plain))
            validate(results.RECALL_SCHEMA, results.recall_result(full))
    validate(results.SESSIONS_SCHEMA, results.sessions_result(MemoryGroupPage((group,), "next")))
    validate(results.FORGOTTEN_SCHEMA, results.forgotten_result("namespaces/n/memories/1"))


def validate(schema: dict[str, object], instance: object) -> None:
    """Validate; a property that the schema does not have is an error."""
    closed = {**schema, "additionalProperties": False}
    assert [error.message for error in Draft202012Validator(closed).iter_errors(instance)] == []


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: str(tool.name))
def test_tool_schemas_are_valid_and_describe_every_argument(tool: object) -> None:
    definition = tool.definition()  # type: ignore[attr-defined]
    for schema in (definition.input_schema, definition.output_schema):
        Draft202012Validator.check_schema(schema)
    for name, argument in definition.input_schema["properties"].items():
        assert argument.get("description"), name
