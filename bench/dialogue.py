"""Turns of conversations, and questions whose answers some of the turns contain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn. `session`: the id of its session within the conversation; `position`: its place in that session."""

    id: str
    session: str
    position: int
    time: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the ids of the turns and of the sessions that contain its answer, and its category."""

    text: str
    evidence: frozenset[str]
    sessions: frozenset[str]
    category: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in the order of time within each session, and questions about them."""

    name: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]
