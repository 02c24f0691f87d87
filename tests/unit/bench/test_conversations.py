"""Both conversation formats are parsed; any other file is rejected by the name of the invalid field."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.conversations import Corpus, read
from bench.dialogue import Question
from bench.json_entry import ShapeError

CONVERSATIONS: list[dict[str, Any]] = [
    {
        "conversation": "garden",
        "turns": [
            {
                "id": "a",
                "session": 1,
                "position": 0,
                "session_time": "1:56 pm on 8 May, 2023",
                "text": "I sowed beans.",
            },
            {"id": "b", "session": 2, "position": 1, "session_time": "9:00 am on 9 May, 2023", "text": "And peas."},
        ],
        "questions": [
            {"question": "What was sown?", "evidence": ["a", "b"], "category": 3},
            {"question": "What was reaped?", "evidence": []},
        ],
    }
]
LONGMEMEVAL: list[dict[str, Any]] = [
    {
        "question_id": "q1",
        "question_type": "multi-session",
        "question": "Which plants did I mention?",
        "answer": 2,
        "question_date": "2023/05/30 (Tue) 23:40",
        "haystack_session_ids": ["answer_s1", "s2", "s2", "answer_s3"],
        "haystack_dates": [
            "2023/05/20 (Sat) 02:21",
            "2023/05/21 (Sun) 10:00",
            "2023/05/22 (Mon) 10:00",
            "2023/05/23 (Tue) 10:00",
        ],
        "haystack_sessions": [
            [
                {"role": "user", "content": "My fern is thriving.", "has_answer": True},
                {"role": "assistant", "content": "Good to hear.", "has_answer": False},
            ],
            [{"role": "user", "content": "Is it raining?"}, {"role": "assistant", "content": ""}],
            [{"role": "user", "content": "How long is a mile?"}],
            [{"role": "user", "content": "The cactus is in bloom.", "has_answer": True}],
        ],
        "answer_session_ids": ["answer_s1", "answer_s3"],
    }
]


def write_json(folder: Path, value: object) -> str:
    """Write a file of this JSON, and return its path."""
    path = folder / "data.json"
    path.write_text(json.dumps(value))
    return str(path)


def with_second_entry(value: list[dict[str, Any]], **fields: object) -> list[dict[str, Any]]:
    """Return two entries, the second with other fields; a field that is `...` is removed."""
    second = {**deepcopy(value[0]), **fields}
    return [value[0], {name: field for name, field in second.items() if field is not ...}]


def read_error(folder: Path, value: object) -> str:
    """Return the error message of a file that is rejected, without its path."""
    path = write_json(folder, value)
    with pytest.raises(ShapeError) as error:
        read(path)
    return str(error.value).removeprefix(path)


def longmemeval(folder: Path, **fields: object) -> Corpus:
    """Read LongMemEval's format with changed fields in the second entry."""
    return read(write_json(folder, with_second_entry(LONGMEMEVAL, **fields)))


def test_read_drops_questions_without_evidence(tmp_path: Path) -> None:
    """Sessions of the evidence are those of its turns; turns of a session are one second apart."""
    corpus = read(write_json(tmp_path, CONVERSATIONS))
    (conversation,) = corpus.conversations
    (question,) = conversation.questions
    assert question == Question("What was sown?", frozenset({"a", "b"}), frozenset({"1", "2"}), "3")
    assert conversation.turns[1].time == datetime(2023, 5, 9, 9, 0, 1, tzinfo=UTC)
    assert not corpus.own_haystacks


def test_longmemeval_gives_each_question_its_own_conversation(tmp_path: Path) -> None:
    """Evidence are messages with `has_answer` and the sessions of `answer_session_ids`; ids may occur twice."""
    corpus = read(write_json(tmp_path, LONGMEMEVAL))
    (conversation,) = corpus.conversations
    (question,) = conversation.questions
    assert corpus.own_haystacks
    assert [turn.text for turn in conversation.turns if turn.id in question.evidence] == [
        "My fern is thriving.",
        "The cactus is in bloom.",
    ]
    assert {turn.session for turn in conversation.turns} == {"0", "1", "2", "3"}
    assert question.sessions == {"0", "3"}
    assert question.category == "multi-session"
    assert conversation.turns[1].time == datetime(2023, 5, 20, 2, 21, 1, tzinfo=UTC)
    assert corpus.omitted == ["messages without text, not stored: 1"]


def test_longmemeval_skips_abstention_and_unlabelled_questions(tmp_path: Path) -> None:
    """They are skipped as in LongMemEval's own evaluation, and the number of each is reported."""
    abstention = longmemeval(tmp_path, question_id="q2_abs", answer_session_ids=["elsewhere"])
    assert [one.name for one in abstention.conversations] == ["q1"]
    assert "questions without an answer (`_abs`), left out: 1" in abstention.omitted
    sessions = [[{"role": "user", "content": "Hello."}]] * 4
    unlabelled = longmemeval(tmp_path, haystack_sessions=sessions)
    assert "questions without a message with `has_answer`, left out: 1" in unlabelled.omitted


def test_message_over_text_limit_is_truncated(tmp_path: Path) -> None:
    """The text is cut between characters, and the number of cut messages is reported."""
    sessions = deepcopy(LONGMEMEVAL[0]["haystack_sessions"])
    sessions[2][0]["content"] = "é" * 80_000
    corpus = longmemeval(tmp_path, haystack_sessions=sessions)
    assert max(len(turn.text) for turn in corpus.conversations[1].turns) == 51_200
    assert "messages cut at 100 KiB: 1" in corpus.omitted


@pytest.mark.parametrize(
    "field",
    [
        "question_id",
        "question_type",
        "question",
        "haystack_session_ids",
        "haystack_dates",
        "haystack_sessions",
        "answer_session_ids",
    ],
)
def test_longmemeval_error_names_missing_field(tmp_path: Path, field: str) -> None:
    """The message has the file, the number of the entry and the field."""
    message = read_error(tmp_path, with_second_entry(LONGMEMEVAL, **{field: ...}))
    assert message.startswith(f": entry[1]: the field `{field}` is missing; it must be a ")


@pytest.mark.parametrize("field", ["conversation", "turns", "questions"])
def test_conversation_error_names_missing_field(tmp_path: Path, field: str) -> None:
    """The message has the file, the number of the entry and the field."""
    message = read_error(tmp_path, with_second_entry(CONVERSATIONS, **{field: ...}))
    assert message.startswith(f": entry[1]: the field `{field}` is missing; it must be a ")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"haystack_dates": ["2023/05/20 (Sat) 02:21"]}, "`haystack_dates` must have one item for each of the 4"),
        ({"haystack_dates": ["yesterday"] * 4}, "`haystack_dates[0]` must be a time such as `2023/05/20 (Sat) 02:21`"),
        ({"haystack_session_ids": ["answer_s1", 2, "s", "answer_s3"]}, "`haystack_session_ids[1]` must be a string"),
        ({"haystack_sessions": "none"}, "`haystack_sessions` must be a list of lists, but is a string"),
        ({"answer_session_ids": ["s9"]}, "`answer_session_ids` names 's9', which `haystack_session_ids` does not"),
        ({"question": 3}, "`question` must be a string, but is a number"),
    ],
)
def test_longmemeval_error_names_invalid_field(tmp_path: Path, fields: dict[str, object], expected: str) -> None:
    """The error states the valid form of the field."""
    assert expected in read_error(tmp_path, with_second_entry(LONGMEMEVAL, **fields))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user"}, "haystack_sessions[3][0]: the field `content` is missing"),
        ({"content": "Hello."}, "haystack_sessions[3][0]: the field `role` is missing"),
        ({"role": "system", "content": "Hello."}, "`role` must be one of user, assistant"),
        ({"role": "user", "content": "Hello.", "has_answer": "yes"}, "`has_answer` must be true or false"),
        ("Hello.", "haystack_sessions[3][0] must be an object, but is a string"),
    ],
)
def test_longmemeval_error_locates_invalid_message(tmp_path: Path, message: object, expected: str) -> None:
    """The error has the session and the position of the message."""
    sessions = [*LONGMEMEVAL[0]["haystack_sessions"][:3], [message]]
    assert expected in read_error(tmp_path, with_second_entry(LONGMEMEVAL, haystack_sessions=sessions))


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ({"session_time": "noon"}, "turns[0]: the field `session_time` must be a time such as"),
        ({"position": True}, "turns[0]: the field `position` must be a whole number, but is true"),
        ({"text": None}, "turns[0]: the field `text` must be a string, but is null"),
        ({"id": "c"}, "questions[0]: the field `evidence` names 'a', which is not the id of a turn"),
    ],
)
def test_conversation_error_locates_invalid_turn(tmp_path: Path, turn: dict[str, object], expected: str) -> None:
    """The error has the number of the turn or question, and the valid form of the field."""
    value = deepcopy(CONVERSATIONS)
    value[0]["turns"][0].update(turn)
    assert expected in read_error(tmp_path, value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([{"turn": []}], "the field `turns` is missing, and so is `haystack_sessions`"),
        ([], "must be a list of at least one object, but is an empty list"),
        ({"data": []}, "must be a list of at least one object, but is an object"),
        (["text"], "entry[0] must be an object, but is a string"),
        ([{"conversation": "a", "turns": [], "questions": []}], "has no question with evidence"),
    ],
)
def test_unknown_file_format_is_rejected(tmp_path: Path, value: object, expected: str) -> None:
    """The message states the expected and the actual content."""
    assert expected in read_error(tmp_path, value)


def test_file_that_is_not_json_is_rejected(tmp_path: Path) -> None:
    """The error has the line and column of the first mistake."""
    path = tmp_path / "data.json"
    path.write_text("[{]")
    with pytest.raises(ShapeError, match=r"is not JSON in UTF-8: .*line 1 column 3"):
        read(str(path))
