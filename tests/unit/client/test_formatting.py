"""Text for people: targets, labels, and answers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from somabrain_client.cli.main import main
from somabrain_client.formatting import recall_result_lines
from somabrain_client.models import Breakdown, Hit, Memory, MemoryKind, RecallResult
from somabrain_client.transport import target

TIME = datetime(2024, 1, 1, tzinfo=UTC)


def memory(text: str) -> Memory:
    return Memory(
        "namespaces/a/memories/m",
        text,
        MemoryKind.EPISODIC,
        "",
        None,
        "",
        {},
        TIME,
        TIME,
        TIME,
        0.5,
        None,
        False,
        1,
        "e",
    )


def answer(*hits: Hit) -> RecallResult:
    return RecallResult(hits, (), False, "", "", False, 0.25)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("localhost:50052", "dns:///localhost:50052"),
        ("dns:///sb.demo.svc:50052", "dns:///sb.demo.svc:50052"),
        ("unix:/tmp/socket", "unix:/tmp/socket"),
    ],
)
def test_an_address_is_resolved_to_all_its_replicas(address: str, expected: str) -> None:
    assert target(address) == expected


def test_a_hit_shows_its_text_and_every_part_of_its_score() -> None:
    part = Breakdown(0.4, 1.0, 0.5, 0.1, 0.9, 1.1)
    lines = list(recall_result_lines(answer(Hit(memory("We met in Ghent."), 0.85, part))))
    assert lines == [
        " 1. 0.8500  namespaces/a/memories/m",
        "    We met in Ghent.",
        "    lexical 1.000 (absolute 0.400) · dense 0.500 · contiguity 0.100 · recency x0.900 · salience x1.100",
    ]


def test_no_hit_says_how_near_it_was() -> None:
    assert list(recall_result_lines(answer())) == ["No hits (best lexical score 0.250)."]


def test_a_memory_cannot_speak_to_the_terminal() -> None:
    lines = list(recall_result_lines(answer(Hit(memory("a\x1b[2Jb"), 0.5, None))))
    assert "\x1b" not in "".join(lines)


def test_a_label_that_is_none_is_refused_with_its_form(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["remember", "notes", "text", "--label", "novalue"])
    assert caught.value.code == 2
    assert "'novalue' is not KEY=VALUE" in capsys.readouterr().err
