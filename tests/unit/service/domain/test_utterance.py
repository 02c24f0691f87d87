"""Speaker of a text, and its share of questions."""

from __future__ import annotations

import pytest

from somabrain_service.domain.utterance import question_share, speaker


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada: The bees are back.", "ada"),
        ("Ada Lovelace: The bees are back.", "ada lovelace"),
        ("Zoë O’Hara-Smith: hello", "zoë o’hara-smith"),
        ("The bees are back.", ""),
        ("http://example.org is down", ""),
        ("At 10:30 the bees came", ""),
        ("12: a number is no name", ""),
        ("one two three four: too many words", ""),
        ("x" * 40 + ": too long", ""),
        ("", ""),
    ],
)
def test_speaker_is_label_before_first_colon(text: str, expected: str) -> None:
    """One to three words that begin with a letter, followed by a colon and a space, in lower case."""
    assert speaker(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada: Did they come back?", 1.0),
        ("They came back. Did you see them?", 0.5),
        ("They came back.", 0.0),
        ("Really?! Yes. No…", 1 / 3),
        ("彼らは戻りましたか？はい。", 0.5),
        ("no mark at the end", 0.0),
        ("Ada: ", 0.0),
        ("???", 0.0),
        ("", 0.0),
    ],
)
def test_question_share(text: str, expected: float) -> None:
    """A sentence ends at ., ! or ?, also of other scripts, and is a question if a question mark is among its ends."""
    assert question_share(text) == expected


def test_long_texts_are_parsed_without_backtracking() -> None:
    """A text of 64 KiB without an end, or of ends alone, has a share, too; no backtracking makes it hang."""
    assert question_share("a " * 32_768) == 0.0
    assert question_share("?" * 65_536) == question_share(" " * 65_536) == question_share("? " * 32_768) == 0.0
    assert question_share("a?" * 32_768) == 1.0
    assert speaker("a " * 32_768) == speaker(" " * 65_536) == ""
