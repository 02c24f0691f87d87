"""Conversations from the published JSON of LongMemEval (Wu et al. 2025): one conversation per question.

An entry's haystack is a list of sessions, each a list of messages of a user and an assistant; both are stored. The
evidence are the messages with `has_answer` (by turn) and the sessions in `answer_session_ids` (by session). As in
LongMemEval's own evaluation of retrieval, questions that cannot be answered (`_abs` in the id) and those without any
message with `has_answer` have no recall and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bench.dialogue import Conversation, Question, Turn
from bench.json_entry import Entry, objects
from somabrain_service.domain.limits import MAX_TEXT_BYTES

ABSTENTION = "_abs"
DATE = "%Y/%m/%d %H:%M"
_WEEKDAY = re.compile(r" \(\w+\)")
_ROLES = ("user", "assistant")


def conversations(entries: Sequence[Entry]) -> tuple[list[Conversation], list[str]]:
    """Return the conversations of the questions with evidence, and what was left out of them.

    Raises:
        ShapeError: naming the entry and the field.
    """
    chosen: list[Conversation] = []
    abstention = unlabelled = 0
    empty: list[str] = []
    long: list[str] = []
    for entry in entries:
        conversation = _conversation(entry, empty, long)
        if ABSTENTION in conversation.name:
            abstention += 1
        elif not conversation.questions[0].evidence:
            unlabelled += 1
        else:
            chosen.append(conversation)
    counted = [
        (abstention, "questions without an answer (`_abs`), left out"),
        (unlabelled, "questions without a message with `has_answer`, left out"),
        (len(empty), "messages without text, not stored"),
        (len(long), f"messages cut at {MAX_TEXT_BYTES // 1024} KiB"),
    ]
    return chosen, [f"{sentence}: {count}" for count, sentence in counted if count]


def _conversation(entry: Entry, empty: list[str], long: list[str]) -> Conversation:
    sessions = entry.texts("haystack_session_ids")
    dates = entry.texts("haystack_dates")
    messages = entry.lists("haystack_sessions")
    for name, values in (("haystack_dates", dates), ("haystack_sessions", messages)):
        if len(values) != len(sessions):
            raise entry.invalid(
                name,
                f"must have one item for each of the {len(sessions)} of `haystack_session_ids`, but has {len(values)}",
            )
    answering = set(entry.texts("answer_session_ids"))
    name = entry.text("question_id")
    if (unknown := sorted(answering - set(sessions))) and ABSTENTION not in name:
        raise entry.invalid("answer_session_ids", f"names {unknown[0]!r}, which `haystack_session_ids` does not")
    turns: list[Turn] = []
    evidence: set[str] = set()
    for number, (date, session) in enumerate(zip(dates, messages, strict=True)):
        began = _time(entry, f"haystack_dates[{number}]", date)
        for position, message in enumerate(objects(session, f"{entry.place}, haystack_sessions[{number}]")):
            turn_id = f"{number}:{position}"
            if message.text("role") not in _ROLES:
                raise message.invalid("role", f"must be one of {', '.join(_ROLES)}")
            content = message.text("content")
            if message.flag("has_answer"):
                evidence.add(turn_id)
            if not content:
                empty.append(turn_id)
                continue
            encoded = content.encode()
            if len(encoded) > MAX_TEXT_BYTES:
                long.append(turn_id)
                content = encoded[:MAX_TEXT_BYTES].decode(errors="ignore")
            # A session id may occur twice in a haystack; numbers do not.
            turns.append(Turn(turn_id, str(number), position, began + timedelta(seconds=position), content))
    answering_numbers = frozenset(str(number) for number, session_id in enumerate(sessions) if session_id in answering)
    question = Question(entry.text("question"), frozenset(evidence), answering_numbers, entry.text("question_type"))
    return Conversation(name, tuple(turns), (question,))


def _time(entry: Entry, name: str, text: str) -> datetime:
    try:
        return datetime.strptime(_WEEKDAY.sub("", text), DATE).replace(tzinfo=UTC)
    except ValueError as exc:
        raise entry.invalid(name, f"must be a time such as `2023/05/20 (Sat) 02:21`, but is {text!r}") from exc
