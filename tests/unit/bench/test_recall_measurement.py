"""The recall benchmark stores and sends what its table reports."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bench.bench_recall import sample
from bench.conversations import Corpus
from bench.dialogue import Conversation, Question, Turn
from bench.recall_measurement import unrelated
from bench.recall_variants import BATCH, FLAG_VARIANTS, Variant, batches
from somabrain_service.domain.limits import MAX_BATCH_BYTES, MAX_TEXT_BYTES
from somabrain_service.flags.registry import FLAG_NAMES


def conversation(name: str, *texts: str, evidence: int = 0) -> Conversation:
    """Return a conversation of one session, with a question that the text at `evidence` answers."""
    turns = tuple(Turn(str(n), "1", n, datetime(2023, 5, 8, tzinfo=UTC), text) for n, text in enumerate(texts))
    question = Question(f"What of {name}?", frozenset({str(evidence)}), frozenset({"1"}), "none")
    return Conversation(name, turns, (question,))


def test_unrelated_conversation_contains_no_evidence_text() -> None:
    """The next conversation without such a text is chosen, cyclically; the result is None if every one has it."""
    a, b, c = conversation("a", "beans", "peas"), conversation("b", "beans", "rain"), conversation("c", "rain", "peas")
    assert [unrelated([a, b, c], number) for number in range(3)] == [2, 2, 0]
    assert unrelated([a, b], 0) is None
    assert unrelated([a], 0) is None


def test_sample_size_is_exact_and_deterministic() -> None:
    """Conversations without a drawn question are left out, and the number of the others is reported."""
    corpus = Corpus([conversation(str(number), "text") for number in range(9)], ["before: 1"], own_haystacks=True)
    drawn = sample(corpus, 4)
    assert drawn == sample(corpus, 4)
    assert sum(len(one.questions) for one in drawn.conversations) == len(drawn.conversations) == 4
    assert drawn.omitted == ["before: 1", "questions not drawn (--questions), left out: 5"]
    assert sample(corpus, 9) == corpus


def test_batches_respect_request_limits() -> None:
    """Batches contain all turns in order, and none has too many turns or bytes."""
    turns = conversation("long", *["x" * MAX_TEXT_BYTES] * 60, *["y"] * 450).turns
    groups = list(batches(turns))
    assert [turn for group in groups for turn in group] == list(turns)
    assert all(len(group) <= BATCH for group in groups)
    assert all(sum(len(turn.text) for turn in group) <= MAX_BATCH_BYTES // 2 for group in groups)


def test_variant_rejects_unknown_flag() -> None:
    """A misspelled flag has no effect in etcd, so a row of the table would show the defaults."""
    assert all(name in FLAG_NAMES for variant in FLAG_VARIANTS for name in variant.flags)
    with pytest.raises(ValueError, match="no such flag: late_interactoin; the flags are recall_cache, "):
        Variant("misspelled", flags={"late_interactoin": "false"})
