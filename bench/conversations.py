"""Conversations with questions about them, read from one of two formats of JSON file; see docs/bench.md."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench import longmemeval
from bench.dialogue import Conversation, Question, Turn
from bench.json_entry import Entry, ShapeError, entries

SESSION_TIME = "%I:%M %p on %d %B, %Y"


@dataclass(frozen=True)
class Corpus:
    """Conversations of a file, each with at least one question, and what was left out of it, with numbers.

    `own_haystacks`: each question has its own conversation, so there are as many of them as questions.
    """

    conversations: list[Conversation]
    omitted: list[str]
    own_haystacks: bool


def read(path: str) -> Corpus:
    """Read the conversations of a file, without the questions that have no evidence.

    Raises:
        ShapeError: the file is in neither format; the message names the entry and the field.
    """
    values = entries(path)
    if values[0].has("haystack_sessions"):
        conversations, omitted = longmemeval.conversations(values)
        return Corpus(_answerable(path, conversations), omitted, own_haystacks=True)
    if not values[0].has("turns"):
        raise values[0].invalid(
            "turns",
            "is missing, and so is `haystack_sessions`; the first is of conversations, the other of LongMemEval",
        )
    return Corpus(_answerable(path, [_conversation(entry) for entry in values]), [], own_haystacks=False)


def _answerable(path: str, conversations: list[Conversation]) -> list[Conversation]:
    chosen = [one for one in conversations if one.questions]
    if not chosen:
        raise ShapeError(f"{path} has no question with evidence, so there is no recall to measure.")
    return chosen


def _conversation(entry: Entry) -> Conversation:
    turns = tuple(_turn(turn) for turn in entry.entries("turns"))
    sessions = {turn.id: turn.session for turn in turns}
    questions = tuple(_question(one, sessions) for one in entry.entries("questions"))
    return Conversation(entry.text("conversation"), turns, tuple(one for one in questions if one.evidence))


def _turn(entry: Entry) -> Turn:
    position = entry.integer("position")
    try:
        began = datetime.strptime(entry.text("session_time"), SESSION_TIME).replace(tzinfo=UTC)
    except ValueError as exc:
        if isinstance(exc, ShapeError):
            raise
        raise entry.invalid("session_time", "must be a time such as `1:56 pm on 8 May, 2023`") from exc
    # Turns of a session are one second apart.
    time = began + timedelta(seconds=position)
    return Turn(entry.text("id"), str(entry.integer("session")), position, time, entry.text("text"))


def _question(entry: Entry, sessions: dict[str, str]) -> Question:
    evidence = frozenset(entry.texts("evidence"))
    if unknown := sorted(evidence - sessions.keys()):
        raise entry.invalid("evidence", f"names {unknown[0]!r}, which is not the id of a turn of this conversation")
    category = str(entry.integer("category")) if entry.has("category") else "none"
    return Question(entry.text("question"), evidence, frozenset(sessions[turn] for turn in evidence), category)
