"""Speaker of a text, and the share of it that asks, as the text itself shows them."""

from __future__ import annotations

import re

_LABEL = re.compile(r"\s*([^\W\d_][\w'’.-]{0,31}(?: [^\W\d_][\w'’.-]{0,31}){0,2}):\s")
_SENTENCE = re.compile(r"([^.!?…。！？]+)([.!?…。！？]*)")
_QUESTION_MARKS = frozenset("?？")


def speaker(text: str) -> str:
    """Return the label before the first colon, one to three words that begin with a letter, in lower case; or ''."""
    label = _LABEL.match(text)
    return label[1].lower() if label else ""


def question_share(text: str) -> float:
    """Return the share of the text's sentences that end with a question mark, 0 to 1, without the speaker's label."""
    label = _LABEL.match(text)
    sentences = _SENTENCE.finditer(text, label.end() if label else 0)
    ends = [sentence[2] for sentence in sentences if not sentence[1].isspace()]
    return sum(not _QUESTION_MARKS.isdisjoint(end) for end in ends) / len(ends) if ends else 0.0
