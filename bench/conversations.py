"""Conversations with questions, and the evidence recall of a result."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict

K = 10


class Turn(TypedDict):
    """One turn of a conversation."""

    id: str
    session: int
    position: int
    session_time: str
    text: str


class Question(TypedDict):
    """A question, and the ids of the turns that contain its answer."""

    question: str
    evidence: list[str]


class Conversation(TypedDict):
    """Turns, and questions about them."""

    conversation: str
    turns: list[Turn]
    questions: list[Question]


def read(path: str) -> list[Conversation]:
    """Read the conversations of a file, without the questions that have no evidence."""
    conversations: list[Conversation] = json.loads(Path(path).read_text())
    return [
        {**conversation, "questions": [one for one in conversation["questions"] if one["evidence"]]}
        for conversation in conversations
    ]


def time_of(turn: Turn) -> datetime:
    """Return the time of a turn; turns of a session are one second apart."""
    began = datetime.strptime(turn["session_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
    return began + timedelta(seconds=turn["position"])


def evidence_recall(question: Question, retrieved: Collection[str]) -> float:
    """Return the share of the question's evidence that was retrieved, 0 to 1."""
    gold = set(question["evidence"])
    return len(gold & set(retrieved)) / len(gold)


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the probability that a positive is above a negative, ties counted half (Mann & Whitney 1947)."""
    above = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    return above / (len(positive) * len(negative))
