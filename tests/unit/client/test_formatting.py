"""Command-line text: targets, labels and results."""

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


def recall_result(*hits: Hit) -> RecallResult:
    return RecallResult(hits, (), False, "", "", False, 0.25)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("localhost:50052", "dns:///localhost:50052"),
        ("dns:///sb.demo.svc:50052", "dns:///sb.demo.svc:50052"),
        ("unix:/tmp/socket", "unix:/tmp/socket"),
    ],
)
def test_target_adds_dns_scheme_to_plain_address(address: str, expected: str) -> None:
    assert target(address) == expected


def test_hit_lines_show_text_and_score_breakdown() -> None:
    part = Breakdown(0.4, 1.0, 0.5, 0.1, 0.9, 1.1)
    lines = list(recall_result_lines(recall_result(Hit(memory("We met in Ghent."), 0.85, part))))
    assert lines == [
        " 1. 0.8500  namespaces/a/memories/m",
        "    We met in Ghent.",
        "    lexical 1.000 (absolute 0.400) · dense 0.500 · contiguity 0.100 · recency x0.900 · salience x1.100",
    ]


def test_empty_result_reports_best_lexical_score() -> None:
    assert list(recall_result_lines(recall_result())) == ["No hits (best lexical score 0.250)."]


def test_terminal_escape_sequences_are_removed() -> None:
    lines = list(recall_result_lines(recall_result(Hit(memory("a\x1b[2Jb"), 0.5, None))))
    assert "\x1b" not in "".join(lines)


def test_malformed_label_option_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["remember", "notes", "text", "--label", "novalue"])
    assert caught.value.code == 2
    assert "'novalue' is not KEY=VALUE" in capsys.readouterr().err
