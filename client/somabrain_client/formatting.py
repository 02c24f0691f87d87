"""Memories, recall results, changes and namespaces as text for people and as JSON for programs. Pure."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum

from somabrain_client.changes import Change
from somabrain_client.models import Breakdown, Memory, MemoryGroup, Namespace, RecallResult, WordMatch

WIDTH = 100
MAX_LINES = 4


def recall_result_lines(result: RecallResult) -> Iterator[str]:
    """Yield the lines of a recall result: each hit with its score, its text and the breakdown of the score."""
    if not result.hits:
        match = "" if result.best_match is None else f", best match {result.best_match:.3f}"
        yield f"No hits (best lexical score {result.best_lexical:.3f}{match})."
    for rank, hit in enumerate(result.hits, start=1):
        yield f"{rank:>2}. {hit.score:.4f}  {hit.memory.name}"
        yield from _text_lines(hit.memory.text)
        if hit.breakdown is not None:
            yield f"    {breakdown_line(hit.breakdown)}"
        if hit.matches:
            yield f"    {matches_line(hit.matches)}"
    if result.truncated:
        yield "More hits were omitted: the response reached 3 MiB."
    for reason in result.degraded:
        yield f"Degraded: {reason}."


def breakdown_line(breakdown: Breakdown) -> str:
    """Return the breakdown of a score as one line."""
    parts = [
        f"lexical {breakdown.lexical_relative:.3f} (absolute {breakdown.lexical:.3f})",
        f"dense {breakdown.dense:.3f}",
    ]
    if breakdown.match or breakdown.meaning:
        parts.append(f"meaning {breakdown.meaning:.3f} (absolute {breakdown.match:.3f})")
    parts.append(f"contiguity {breakdown.contiguity:.3f}")
    for name in ("recency", "salience", "question", "speaker"):
        factor = getattr(breakdown, name)
        if name in ("recency", "salience") or factor != 1:
            parts.append(f"{name} x{factor:.3f}")
    return " · ".join(parts)


def matches_line(matches: Sequence[WordMatch]) -> str:
    """Return, as one line, which words of the query met which words of the memory."""
    text = " · ".join(f"{each.query_word} ~ {each.memory_word} {each.similarity:.2f}" for each in matches)
    return _printable(text)


def memory_lines(memory: Memory) -> Iterator[str]:
    """Yield the lines of a memory: its name, its time, session, subject and labels, and its text."""
    facts = [f"{memory.event_time:%Y-%m-%d %H:%M:%S}"]
    if memory.session:
        facts.append(f"session {memory.session}, position {memory.session_position}")
    if memory.subject:
        facts.append(f"about {memory.subject}")
    if memory.key:
        facts.append(f"key {_printable(memory.key)}")
    facts += [f"{key}={value}" for key, value in sorted(memory.labels.items())]
    yield memory.name
    yield f"    {' · '.join(facts)}"
    yield from _text_lines(memory.text)


def group_line(group: MemoryGroup) -> str:
    """Return a session or subject as one line: the time of its last event, its number of memories, and its name."""
    return f"{group.last_event_time:%Y-%m-%d %H:%M:%S} {group.memory_count:>6}  {_printable(group.value)}"


def change_lines(change: Change) -> Iterator[str]:
    """Yield the lines of a change: its time, type and memory, and the text if the change includes the memory."""
    yield f"{change.change_time:%Y-%m-%d %H:%M:%S} {change.type.name} {change.name} revision {change.revision}"
    if change.memory is not None:
        yield from _text_lines(change.memory.text)


def json_line(value: object) -> str:
    """Return a value of the client as one line of JSON: times in ISO 8601, durations in seconds, enums by name."""
    return json.dumps(_to_json(value), ensure_ascii=False)


def _to_json(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    match value:
        case Enum():
            return value.name
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {key: _to_json(item) for key, item in value.items()}
        case tuple():
            return [_to_json(item) for item in value]
        case _:
            return value


def namespace_lines(namespace: Namespace) -> Iterator[str]:
    """Yield the lines of a namespace: its name, its settings and its statistics."""
    yield namespace.name
    if namespace.display_name:
        yield from _text_lines(namespace.display_name)
    facts = [f"language {namespace.language}", f"encoder {namespace.encoder}"]
    if namespace.recency_half_life is not None:
        facts.append(f"recency half-life {namespace.recency_half_life}")
    if namespace.default_ttl is not None:
        facts.append(f"memories expire after {namespace.default_ttl}")
    yield f"    {' · '.join(facts)}"
    if (statistics := namespace.statistics) is not None:
        yield (
            f"    memories {statistics.memory_count} · bytes {statistics.text_bytes} · "
            f"vectors {statistics.vector_count} · sessions {statistics.session_count} · terms {statistics.term_count}"
        )


def _printable(text: str) -> str:
    # Text is untrusted: characters that would control the terminal become the replacement character.
    return "".join(char if char.isprintable() or char.isspace() else "\ufffd" for char in text)


def _text_lines(text: str) -> list[str]:
    lines = textwrap.wrap(
        _printable(text), WIDTH, initial_indent="    ", subsequent_indent="    ", max_lines=MAX_LINES, placeholder=" …"
    )
    return lines or ["    "]
