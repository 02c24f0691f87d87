"""Results of the tools: JSON objects, and the JSON Schemas that they match. Pure.

What is empty or at its default is left out, because every character fills the context of a language model.
"""

from __future__ import annotations

import dataclasses
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
BREAKDOWN_FIELDS: Final = tuple(field.name for field in dataclasses.fields(Breakdown) if field.name != "truncated")


def memory_result(memory: Memory) -> JsonObject:
    """Return a memory."""
    result: JsonObject = {
        "name": memory.name,
        "text": memory.text,
        "kind": KIND_NAMES[memory.kind],
        "event_time": _time(memory.event_time),
        "create_time": _time(memory.create_time),
        "update_time": _time(memory.update_time),
        "salience": memory.salience,
        "revision": memory.revision,
        "etag": memory.etag,
    }
    for name in ("key", "session", "subject", "index_text"):
        if value := getattr(memory, name):
            result[name] = value
    if memory.labels:
        result["labels"] = dict(memory.labels)
    if memory.session_position is not None:
        result["session_position"] = memory.session_position
    if memory.expire_time is not None:
        result["expire_time"] = _time(memory.expire_time)
    if memory.pinned:
        result["pinned"] = True
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
        result["breakdown"] = {name: round(getattr(hit.breakdown, name), 6) for name in BREAKDOWN_FIELDS}
        if hit.breakdown.truncated:
            result["breakdown"]["truncated"] = True
    if hit.matches:
        result["matches"] = [
            {"query_word": each.query_word, "memory_word": each.memory_word, "similarity": round(each.similarity, 6)}
            for each in hit.matches
        ]
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
        "kind": {"type": "string", "enum": list(KIND_NAMES.values())},
        "event_time": _TIME,
        "create_time": _TIME,
        "update_time": _TIME,
        "salience": _NUMBER,
        "revision": _described("integer", "1 when it was stored, one more with each update."),
        "etag": _described("string", "Changes with the memory; with it `update` and `forget` notice other changes."),
        "key": _TEXT,
        "session": _TEXT,
        "session_position": {"type": "integer"},
        "subject": _TEXT,
        "labels": {"type": "object", "additionalProperties": _TEXT},
        "expire_time": _TIME,
        "pinned": {"type": "boolean"},
        "index_text": _TEXT,
    },
    "key", "session", "session_position", "subject", "labels", "expire_time", "pinned", "index_text",
)  # fmt: skip

_HIT_SCHEMA: Final = _object(
    {
        "score": _described("number", "Hits are ordered by it. Comparable within one result only."),
        "memory": MEMORY_SCHEMA,
        "breakdown": _object(
            {**dict.fromkeys(BREAKDOWN_FIELDS, _NUMBER), "truncated": {"type": "boolean"}}, "truncated"
        ),
        "matches": {
            "type": "array",
            "items": _object({"query_word": _TEXT, "memory_word": _TEXT, "similarity": _NUMBER}),
        },
    },
    "breakdown", "matches",
)  # fmt: skip

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
    "best_match", "degraded", "truncated", "state_changed", "next_page_token",
)  # fmt: skip

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
