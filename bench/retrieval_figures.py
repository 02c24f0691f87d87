"""Recall by turn and by session, with bootstrapped intervals, and how well a score detects unanswerable questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.dialogue import Question

CUTS = (5, 10, 20)
"""Numbers of hits (by turn) or of sessions (by session) among which evidence counts."""
RESAMPLES = 1000
SEED = 7

Unit = Literal["turn", "session"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval. Prints as `.757 [.721, .790]`."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def share_retrieved(evidence: frozenset[str], retrieved: Iterable[str]) -> float:
    """Return the share of the evidence that was retrieved, 0 to 1; there is at least one piece."""
    return len(evidence & set(retrieved)) / len(evidence)


def recall_by_turn(question: Question, hits: Sequence[str]) -> list[float]:
    """Return the share of the question's turns among the first of `CUTS` hits, ids of turns, best first."""
    return [share_retrieved(question.evidence, hits[:cut]) for cut in CUTS]


def recall_by_session(question: Question, hits: Sequence[str], session: Mapping[str, str]) -> list[float]:
    """Return the share of the question's sessions among the first of `CUTS` sessions.

    Sessions are in the order of their best hit: as many hits count as are needed for that many sessions, as in
    LongMemEval's evaluation of turns by session. `session`: the session of each turn.
    """
    ranked = list(dict.fromkeys(session[turn] for turn in hits))
    return [share_retrieved(question.sessions, ranked[:cut]) for cut in CUTS]


def bootstrap(values: Sequence[float]) -> Interval:
    """Return the mean, and the percentiles 2.5 and 97.5 of the means of resamples with replacement (Efron 1979).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a mean of no values is not defined; give at least one")
    sample = np.asarray(values, np.float64)
    rows = np.random.default_rng(SEED).integers(0, len(sample), (RESAMPLES, len(sample)))
    low, high = np.percentile(sample[rows].mean(axis=1), [2.5, 97.5])
    return Interval(float(sample.mean()), float(low), float(high))


def groups(questions: Sequence[Question], unit: Unit) -> dict[str, list[int]]:
    """Return the rows of all questions, of those with 1, 2, 3 and more pieces of evidence, and of each category.

    A piece is a turn or a session, depending on `unit`. Groups without a question are left out.
    """
    pieces = [len(one.evidence if unit == "turn" else one.sessions) for one in questions]
    result: dict[str, list[int]] = {"all": list(range(len(questions)))}
    for count in (1, 2, 3):
        name = f"{count} {unit}{'s' if count > 1 else ''}"
        result[name] = [row for row, number in enumerate(pieces) if number == count]
    result[f"4 {unit}s and more"] = [row for row, number in enumerate(pieces) if number >= 4]
    for category in sorted({one.category for one in questions}):
        result[f"category {category}"] = [row for row, one in enumerate(questions) if one.category == category]
    return {name: rows for name, rows in result.items() if rows}


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the probability that a positive is above a negative, ties counted half (Mann & Whitney 1947)."""
    ordered = np.sort(np.asarray(negative, np.float64))
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / (2 * len(ordered)))


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Errors of a threshold: answerable questions whose score is below it, and unanswerable ones at or above it."""

    threshold: float
    rejected: float
    accepted: float

    @classmethod
    def of(cls, threshold: float, answerable: Sequence[float], unanswerable: Sequence[float]) -> ErrorRates:
        """Return the shares of both errors, 0 to 1."""
        return cls(
            threshold,
            sum(score < threshold for score in answerable) / len(answerable),
            sum(score >= threshold for score in unanswerable) / len(unanswerable),
        )
