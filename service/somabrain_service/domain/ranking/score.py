"""Scoring of the candidates of a store: pure, exact, the same ranking for the same state and query. See docs/recall.md.

The native kernel of the search index does the same operations in the same order (kernel/src/score.rs), so that both
give the same numbers to the last bit. What changes here changes there; the property tests compare them.

relevance = w · cosine + (1 - w) · bm25 / best bm25          w = 1/2 with both text and vector
score     = (relevance + contiguity) · clamp(recency · salience, 0.7, 1.3)

Age is measured from the start of the current 1/1024 of a half-life, so that scores, and with them the order, are
constant during that step: a ranking computed within it is, to the last digit, the one that would be computed now. This
changes recency by at most 0.07 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.ranking import bm25
from somabrain_service.domain.ranking.bm25 import Floats, Postings
from somabrain_service.domain.ranking.contiguity import contiguity, within_reach
from somabrain_service.domain.ranking.exp2 import exp2_negative
from somabrain_service.domain.recall import ScoreBreakdown

DENSE_WEIGHT = 0.5
BIAS_LOW, BIAS_HIGH = 0.7, 1.3
DECIMALS = 6
STEPS_PER_HALF_LIFE = 1024
"""Number of steps that a half-life is divided into."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Switches for the score components besides relevance: contiguity; bias, which is recency and salience."""

    contiguity: bool = True
    bias: bool = True


DEFAULT_TUNING = Tuning()


@dataclass(frozen=True)
class Candidates:
    """Input of the scorer: seeds, and all memories of their sessions within twice the kernel width of one.

    One row per memory. Candidates are the seeds and the rows within the kernel width of one; other rows only contribute
    contiguity. `cosine` is 0 where a memory has no vector; None: no vectors are compared. `truncated`: some vectors
    were not compared.
    """

    ids: NDArray[np.int64]
    seeds: NDArray[np.bool_]
    session: NDArray[np.int64]
    position: NDArray[np.int64]
    event_time_s: Floats
    salience: Floats
    doc_length: Floats
    postings: Postings
    cosine: Floats | None
    truncated: bool = False

    @cached_property
    def eligible(self) -> NDArray[np.bool_]:
        """Mask of the rows that are candidates, bool[n]."""
        return within_reach(self.seeds, self.session, self.position)


class ScoredMemory(NamedTuple):
    """One entry of a ranking."""

    id: int
    score: float
    breakdown: ScoreBreakdown


@dataclass(frozen=True, slots=True)
class Ranking:
    """The first `top_k`, best first, and the best absolute lexical score of all candidates.

    `truncated`: some vectors were not compared. `reencoding`: some memories have no vector yet. `cached`: not computed,
    but from the cache. `best_match`: the best absolute similarity by words; None: they were not compared.
    `tokens_missing`: some candidates have no token vectors yet.
    """

    hits: tuple[ScoredMemory, ...]
    best_lexical: float
    truncated: bool
    reencoding: bool = False
    cached: bool = False
    best_match: float | None = None
    tokens_missing: bool = False


def quantized_now(now_s: float, half_life: timedelta | None) -> float:
    """Return the time that age is measured from, in seconds since 1970."""
    if half_life is None:
        return now_s
    step_s = half_life.total_seconds() / STEPS_PER_HALF_LIFE
    step = math.floor(now_s / step_s)
    # The quotient is rounded: at the exact start of a step it may belong to the adjacent step.
    return max(start for start in ((step + n) * step_s for n in (-1, 0, 1)) if start <= now_s)


def score_valid_until(now_s: float, half_life: timedelta | None) -> float:
    """Return the time until which age alone changes no score; infinite if age does not count."""
    return (
        math.inf
        if half_life is None
        else quantized_now(now_s, half_life) + half_life.total_seconds() / STEPS_PER_HALF_LIFE
    )


def rank(
    candidates: Candidates,
    *,
    idf: Floats,
    mean_length: float,
    top_k: int,
    now_s: float,
    half_life: timedelta | None,
    tuning: Tuning = DEFAULT_TUNING,
    skip: int = 0,
) -> Ranking:
    """Score the candidates and order the best: by score, then the newest event, then name.

    Args:
        candidates: the seeds and their neighbours.
        idf: float64[t], idf of the query's terms; without terms: empty.
        mean_length: mean document length of all live memories of the namespace.
        top_k: maximum number of hits.
        now_s: current time for the age of memories, in seconds since 1970.
        half_life: half-life of recency; None: age does not count.
        tuning: enabled score components.
        skip: number of the best hits to leave out.
    """
    lexical_scores = bm25.scores(idf, candidates.postings, candidates.doc_length, mean_length)
    eligible = candidates.eligible if tuning.contiguity else candidates.seeds
    best_score = float(lexical_scores[eligible].max(initial=0.0))
    max_score = bm25.max_score(idf)
    relative = lexical_scores / best_score if best_score > 0 else np.zeros_like(lexical_scores)
    cosine = np.zeros_like(lexical_scores) if candidates.cosine is None else np.clip(candidates.cosine, 0.0, 1.0)
    dense_weight = _dense_weight(words=bool(idf.size), vector=candidates.cosine is not None)
    relevance = dense_weight * cosine + (1 - dense_weight) * relative
    boost, recency, salience = np.zeros_like(relevance), np.ones_like(relevance), np.ones_like(relevance)
    if tuning.contiguity:
        boost = contiguity(relevance, candidates.session, candidates.position)
    if tuning.bias:
        recency = _recency(quantized_now(now_s, half_life) - candidates.event_time_s, half_life)
        salience = BIAS_LOW + (BIAS_HIGH - BIAS_LOW) * candidates.salience
    score = np.round((relevance + boost) * np.clip(recency * salience, BIAS_LOW, BIAS_HIGH), DECIMALS)

    rows = np.flatnonzero(eligible)
    order = np.lexsort((candidates.ids[rows], -candidates.event_time_s[rows], -score[rows]))
    chosen = rows[order[skip : skip + top_k]]
    parts = (
        lexical_scores / max_score if max_score > 0 else lexical_scores,
        relative,
        cosine,
        boost,
        recency,
        salience,
    )
    breakdowns = np.round(np.stack([part[chosen] for part in parts], axis=1), DECIMALS).tolist()
    hits = zip(candidates.ids[chosen].tolist(), score[chosen].tolist(), breakdowns, strict=True)
    return Ranking(
        tuple(ScoredMemory(id_, value, ScoreBreakdown(*values)) for id_, value, values in hits),
        round(best_score / max_score, DECIMALS) if max_score > 0 else 0.0,
        candidates.truncated,
    )


def _dense_weight(*, words: bool, vector: bool) -> float:
    if words and vector:
        return DENSE_WEIGHT
    return 1.0 if vector else 0.0


def _recency(age_s: Floats, half_life: timedelta | None) -> Floats:
    """Return 2^(-age / half-life); 1 for event times in the future."""
    if half_life is None:
        return np.ones_like(age_s)
    return exp2_negative(np.maximum(age_s, 0.0) / half_life.total_seconds())
