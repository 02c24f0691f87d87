"""Recall counts turns and sessions as documented, with intervals and error rates that can be recomputed."""

from __future__ import annotations

import random

import pytest

from bench.dialogue import Question
from bench.retrieval_figures import ErrorRates, auc, bootstrap, groups, recall_by_session, recall_by_turn


def question(*evidence: str, sessions: tuple[str, ...] = ("1",), category: str = "none") -> Question:
    """Return a question with this evidence."""
    return Question("Where is the key?", frozenset(evidence), frozenset(sessions), category)


def test_recall_by_turn_is_share_of_evidence_in_top_k() -> None:
    """Two of three turns among the first five, the third among the first twenty: 2/3, 2/3, 1."""
    hits = ["x", "a", "y", "b", "z", *(f"other{n}" for n in range(8)), "c"]
    assert recall_by_turn(question("a", "b", "c"), hits) == [2 / 3, 2 / 3, 1.0]


def test_recall_by_session_counts_each_session_once() -> None:
    """Hits of one session count once, at the rank of the best of them."""
    hits = ["1:0", "1:1", "2:0", "1:2", "3:0", "4:0", "2:1", "5:0", "6:0"]
    session = {hit: hit.partition(":")[0] for hit in hits}
    assert recall_by_session(question("5:0", sessions=("5", "6")), hits, session) == [0.5, 1.0, 1.0]
    assert recall_by_session(question("5:0", sessions=("1", "9")), hits, session) == [0.5, 0.5, 0.5]


def test_bootstrap_interval_has_95_percent_coverage() -> None:
    """About 95 % of the intervals contain the true mean of a known distribution."""
    drawn = random.Random(7)
    intervals = [bootstrap([float(drawn.random() < 0.7) for _ in range(100)]) for _ in range(60)]
    inside = sum(interval.low <= 0.7 <= interval.high for interval in intervals)
    assert 52 <= inside <= 60


def test_bootstrap_is_deterministic_and_zero_width_for_equal_values() -> None:
    """An interval is reproducible, contains its mean, and has no width if all values are equal."""
    values = [0.0, 0.5, 1.0, 1.0, 0.25]
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values).low < bootstrap(values).mean == 0.55 < bootstrap(values).high
    assert str(bootstrap([0.5, 0.5])) == "0.500 [0.500, 0.500]"
    with pytest.raises(ValueError, match="give at least one"):
        bootstrap([])


def test_questions_are_grouped_by_evidence_count_and_category() -> None:
    """A question is in one group of pieces and one of category, and an empty group is left out."""
    questions = [
        question("a", category="2"),
        question("a", "b", sessions=("1", "2"), category="1"),
        question("a", "b", "c", "d", "e", category="2"),
    ]
    assert groups(questions, "turn") == {
        "all": [0, 1, 2],
        "1 turn": [0],
        "2 turns": [1],
        "4 turns and more": [2],
        "category 1": [1],
        "category 2": [0, 2],
    }
    assert groups(questions, "session")["1 session"] == [0, 2]


def test_auc_counts_ties_as_half() -> None:
    """The probability that a positive is above a negative: 1 if all are, 1/2 if all are equal."""
    assert auc([0.9, 0.8], [0.1, 0.2, 0.3]) == 1.0
    assert auc([0.5, 0.5], [0.5]) == 0.5
    assert auc([0.3, 0.1], [0.2, 0.3]) == pytest.approx((1.5 + 0) / 4)


def test_score_equal_to_threshold_is_accepted() -> None:
    """Below the threshold is rejected; at or above it is accepted, as `min_match` does."""
    rates = ErrorRates.of(0.5, answerable=[0.4, 0.5, 0.6, 0.7], unanswerable=[0.5, 0.1])
    assert (rates.rejected, rates.accepted) == (0.25, 0.5)
