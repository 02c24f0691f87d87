"""Results of the tools: JSON objects, and the JSON Schemas that they match. Pure.

What is empty or at its default is left out, because every character fills the context of a language model.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from somabrain_client.models import (
    Breakdown,
    Hit,
    Memory,
    MemoryGroup,
    MemoryGroupPage,
    MemoryKind,
    MemoryPage,
    RecallResult,
)

JsonObject = dict[str, Any]
KIND_NAMES: Final[Mapping[MemoryKind, str]] = {kind: kind.name.lower() for kind in MemoryKind}
NEUTRAL_SALIENCE: Final = 0.5
NEUTRAL_PARTS: Final[Mapping[str, float]] = {
    "lexical": 0,
    "lexical_relative": 0,
    "dense": 0,
    "match": 0,
    "meaning": 0,
    "contiguity": 0,
    "recency": 1,
    "salience": 1,
    "question": 1,
    "speaker": 1,
}
"""The parts of a score: of a sum 0, of a factor 1, if they change nothing."""


def memory_result(memory: Memory) -> JsonObject:
    """Return a memory."""
    result: JsonObject = {"name": memory.name, "text": memory.text, "event_time": _time(memory.event_time)}
    if memory.create_time != memory.event_time:
        result["create_time"] = _time(memory.create_time)
    if memory.update_time != memory.create_time:
        result["update_time"] = _time(memory.update_time)
        result["revision"] = memory.revision
    if memory.kind is not MemoryKind.EPISODIC:
        result["kind"] = KIND_NAMES[memory.kind]
    if memory.salience != NEUTRAL_SALIENCE:
        result["salience"] = memory.salience
    if memory.key:
        result["key"] = memory.key
    if memory.session:
        result["session"] = memory.session
        result["session_position"] = memory.session_position
    if memory.subject:
        result["subject"] = memory.subject
    if memory.labels:
        result["labels"] = dict(memory.labels)
    if memory.index_text:
        result["index_text"] = memory.index_text
    if memory.expire_time is not None:
        result["expire_time"] = _time(memory.expire_time)
    if memory.pinned:
        result["pinned"] = True
    result["etag"] = memory.etag
    return result


def recall_result(result: RecallResult) -> JsonObject:
    """Return the hits of a recall, best first, and what is to be known of them."""
    answer: JsonObject = {"hits": [_hit(hit) for hit in result.hits]}
    if result.best_match is not None:
        answer["best_match"] = round(result.best_match, 6)
    if result.degraded:
        answer["degraded"] = list(result.degraded)
    if result.truncated:
        answer["truncated"] = True
    if result.state_changed:
        answer["state_changed"] = True
    return _with_token(answer, result.next_page_token)


def memories_result(page: MemoryPage) -> JsonObject:
    """Return a page of memories."""
    return _with_token({"memories": [memory_result(memory) for memory in page.memories]}, page.next_page_token)


def sessions_result(page: MemoryGroupPage) -> JsonObject:
    """Return a page of sessions."""
    return _with_token({"sessions": [_session(group) for group in page.groups]}, page.next_page_token)


def forgotten_result(name: str) -> JsonObject:
    """Return the name of the memory that was forgotten."""
    return {"forgotten": name}


def _hit(hit: Hit) -> JsonObject:
    result: JsonObject = {"score": hit.score, "memory": memory_result(hit.memory)}
    if hit.breakdown is not None:
        result["breakdown"] = _breakdown(hit.breakdown)
    if hit.matches:
        result["matches"] = [
            {"query_word": each.query_word, "memory_word": each.memory_word, "similarity": round(each.similarity, 6)}
            for each in hit.matches
        ]
    return result


def _breakdown(breakdown: Breakdown) -> JsonObject:
    result: JsonObject = {}
    for name, neutral in NEUTRAL_PARTS.items():
        part = getattr(breakdown, name)
        if part != neutral:
            result[name] = round(part, 6)
    if breakdown.truncated:
        result["truncated"] = True
    return result


def _session(group: MemoryGroup) -> JsonObject:
    return {
        "session": group.value,
        "memory_count": group.memory_count,
        "last_event_time": _time(group.last_event_time),
        "last_create_time": _time(group.last_create_time),
        "last_update_time": _time(group.last_update_time),
    }


def _with_token(result: JsonObject, next_page_token: str) -> JsonObject:
    if next_page_token:
        result["next_page_token"] = next_page_token
    return result


def _time(time: datetime) -> str:
    return time.isoformat()


def _object(properties: Mapping[str, object], *optional: str) -> JsonObject:
    """Return the schema of an object whose properties are required, except the `optional` ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


def _described(kind: str, description: str) -> JsonObject:
    return {"type": kind, "description": description}


_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
_TIME: Final = {"type": "string", "format": "date-time"}
_NEXT_PAGE: Final = _described("string", "`page_token` of the call for what follows. Omitted: nothing follows.")

MEMORY_SCHEMA: Final = _object(
    {
        "name": _described("string", "Name of the memory, for `get`, `update` and `forget`."),
        "text": _TEXT,
        "event_time": _TIME,
        "create_time": {**_TIME, "description": "Omitted: the same as event_time."},
        "update_time": {**_TIME, "description": "Omitted: it was never changed."},
        "revision": _described("integer", "One more with each update. Omitted: 1."),
        "kind": {"type": "string", "enum": list(KIND_NAMES.values()), "description": "Omitted: episodic."},
        "salience": _described("number", "Omitted: 0.5, which is neutral."),
        "key": _TEXT,
        "session": _TEXT,
        "session_position": {"type": "integer"},
        "subject": _TEXT,
        "labels": {"type": "object", "additionalProperties": _TEXT},
        "index_text": _TEXT,
        "expire_time": _TIME,
        "pinned": {"type": "boolean"},
        "etag": _described("string", "Changes with the memory; with it `update` and `forget` notice other changes."),
    },
    "create_time",
    "update_time",
    "revision",
    "kind",
    "salience",
    "key",
    "session",
    "session_position",
    "subject",
    "labels",
    "index_text",
    "expire_time",
    "pinned",
)

_PARTS: Final = {**dict.fromkeys(NEUTRAL_PARTS, _NUMBER), "truncated": {"type": "boolean"}}

_HIT_SCHEMA: Final = _object(
    {
        "score": _described("number", "Hits are ordered by it. Comparable within one result only."),
        "memory": MEMORY_SCHEMA,
        "breakdown": {
            **_object(_PARTS, *_PARTS),
            "description": "Parts of the score. Omitted parts change nothing: 0 in the sum, or 1 as a factor.",
        },
        "matches": {
            "type": "array",
            "items": _object({"query_word": _TEXT, "memory_word": _TEXT, "similarity": _NUMBER}),
        },
    },
    "breakdown",
    "matches",
)

RECALL_SCHEMA: Final = _object(
    {
        "hits": {"type": "array", "items": _HIT_SCHEMA},
        "best_match": _described(
            "number", "How well the words of the best memory match the query, 0 to 1, comparable between queries."
        ),
        "degraded": {
            "type": "array",
            "items": _TEXT,
            "description": "Reasons why something may be missing. Omitted: the result is complete.",
        },
        "truncated": _described("boolean", "True: memories were left out because the result would be too large."),
        "state_changed": _described("boolean", "True: memories were written since the first page."),
        "next_page_token": _NEXT_PAGE,
    },
    "best_match",
    "degraded",
    "truncated",
    "state_changed",
    "next_page_token",
)

MEMORIES_SCHEMA: Final = _object(
    {"memories": {"type": "array", "items": MEMORY_SCHEMA}, "next_page_token": _NEXT_PAGE}, "next_page_token"
)

SESSIONS_SCHEMA: Final = _object(
    {
        "sessions": {
            "type": "array",
            "items": _object(
                {
                    "session": _TEXT,
                    "memory_count": {"type": "integer"},
                    "last_event_time": _TIME,
                    "last_create_time": _TIME,
                    "last_update_time": _TIME,
                }
            ),
        },
        "next_page_token": _NEXT_PAGE,
    },
    "next_page_token",
)

FORGOTTEN_SCHEMA: Final = _object({"forgotten": _described("string", "Name of the memory that was forgotten.")})
