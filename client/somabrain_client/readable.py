"""Memories, answers, changes and namespaces as lines for people, and as JSON for programs. Pure."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import Enum

from somabrain_client.feed import Change
from somabrain_client.values import Answer, Breakdown, Memory, Namespace

WIDTH = 100
LINES = 4


def answer_lines(answer: Answer) -> Iterator[str]:
    """Yield an answer: each hit with its score, text, and how the score came to be."""
    if not answer.hits:
        yield f"Nothing answers (best lexical score {answer.best_lexical:.3f})."
    for place, hit in enumerate(answer.hits, start=1):
        yield f"{place:>2}. {hit.score:.4f}  {hit.memory.name}"
        yield from _text(hit.memory.text)
        if hit.breakdown is not None:
            yield f"    {breakdown_line(hit.breakdown)}"
    if answer.truncated:
        yield "More hits were left out: the answer had reached 3 MiB."
    for reason in answer.degraded:
        yield f"Degraded: {reason}."


def breakdown_line(part: Breakdown) -> str:
    """Return how a score came to be, in one line."""
    return (
        f"lexical {part.lexical_relative:.3f} (absolute {part.lexical:.3f}) · dense {part.dense:.3f} · "
        f"contiguity {part.contiguity:.3f} · recency x{part.recency:.3f} · salience x{part.salience:.3f}"
    )


def memory_lines(memory: Memory) -> Iterator[str]:
    """Yield a memory: its name, where and when, and its text."""
    facts = [f"{memory.event_time:%Y-%m-%d %H:%M:%S}"]
    if memory.session:
        facts.append(f"session {memory.session}, position {memory.session_position}")
    if memory.subject:
        facts.append(f"about {memory.subject}")
    facts += [f"{key}={value}" for key, value in sorted(memory.labels.items())]
    yield memory.name
    yield f"    {' · '.join(facts)}"
    yield from _text(memory.text)


def change_lines(change: Change) -> Iterator[str]:
    """Yield a change: when, what, which memory, and its text where it came along."""
    yield f"{change.change_time:%Y-%m-%d %H:%M:%S} {change.type.name} {change.name} revision {change.revision}"
    if change.memory is not None:
        yield from _text(change.memory.text)


def json_line(value: object) -> str:
    """Return a value of the client as one line of JSON: times by ISO 8601, spans in seconds, enumerations by name."""
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    match value:
        case Enum():
            return value.name
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def namespace_lines(namespace: Namespace) -> Iterator[str]:
    """Yield a namespace: its name, how it remembers, and what it holds."""
    yield namespace.name
    if namespace.display_name:
        yield from _text(namespace.display_name)
    facts = [f"language {namespace.language}", f"encoder {namespace.encoder}"]
    if namespace.recency_half_life is not None:
        facts.append(f"recency halves in {namespace.recency_half_life}")
    if namespace.default_ttl is not None:
        facts.append(f"memories expire after {namespace.default_ttl}")
    yield f"    {' · '.join(facts)}"
    if (held := namespace.statistics) is not None:
        yield (
            f"    memories {held.memory_count} · bytes {held.text_bytes} · vectors {held.vector_count} · "
            f"sessions {held.session_count} · terms {held.term_count}"
        )


def _text(text: str) -> list[str]:
    # A memory is somebody's words: whatever would speak to the terminal is shown as a replacement character.
    shown = "".join(char if char.isprintable() or char.isspace() else "\ufffd" for char in text)
    lines = textwrap.wrap(
        shown, WIDTH, initial_indent="    ", subsequent_indent="    ", max_lines=LINES, placeholder=" …"
    )
    return lines or ["    "]
