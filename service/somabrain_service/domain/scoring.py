"""The one scorer of every store: pure, exact, the same list for the same state and query. See docs/recall.md.

relevance = w · cosine + (1 - w) · bm25 / best bm25          w = 1/2 where both words and a vector take part
score     = (relevance + contiguity) · clamp(recency · salience, 0.7, 1.3)

Age is measured from the beginning of the current 1/1024 of a half-life, so that a score is steady for as long as that,
and with it the order: what was computed a moment ago is, to the last digit, what would be computed now. Recency is by
at most 0.07 % what it would be without.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain import lexical
from somabrain_service.domain.contiguity import contiguity, within_reach
from somabrain_service.domain.lexical import Floats, Postings
from somabrain_service.domain.recall import ScoreBreakdown

DENSE_WEIGHT = 0.5
BIAS_LOW, BIAS_HIGH = 0.7, 1.3
DECIMALS = 6
STEPS = 1024
"""In so many steps a half-life passes."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What takes part in a score beside relevance: neighbours in the session; recency and salience."""

    contiguity: bool = True
    bias: bool = True


PLAIN = Tuning()


@dataclass(frozen=True, slots=True)
class LexicalQuery:
    """A query's words against a namespace: float64[t] idf, and the mean length of its live memories."""

    idf: Floats
    mean_length: float


@dataclass(frozen=True)
class Candidates:
    """What the scorer is given: seeds, and all memories of their sessions within twice the kernel's reach of one.

    One row a memory. Candidates are the seeds and what is within the kernel's reach of one; the others only lend.
    `cosine` holds 0 where a memory has no vector; None: no vectors take part. `truncated`: some vectors were not
    compared.
    """

    ids: NDArray[np.int64]
    seeds: NDArray[np.bool_]
    session: NDArray[np.int64]
    position: NDArray[np.int64]
    event_time_s: Floats
    salience: Floats
    length: Floats
    postings: Postings
    cosine: Floats | None
    truncated: bool = False

    @cached_property
    def answers(self) -> NDArray[np.bool_]:
        """bool[n], which rows are candidates."""
        return within_reach(self.seeds, self.session, self.position)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A place in the answer."""

    id: int
    score: float
    breakdown: ScoreBreakdown


@dataclass(frozen=True, slots=True)
class Ranking:
    """The first `top_k`, best first, and the best absolute lexical score of all candidates.

    `truncated`: some vectors were not compared.
    """

    places: tuple[Ranked, ...]
    best_lexical: float
    truncated: bool


def steady_from(now_s: float, half_life: timedelta | None) -> float:
    """Return the moment that age is measured from, in seconds since 1970."""
    if half_life is None:
        return now_s
    step_s = half_life.total_seconds() / STEPS
    step = math.floor(now_s / step_s)
    # The quotient is rounded: at the very moment a step begins it may be of the step beside it.
    return max(begins for begins in ((step + n) * step_s for n in (-1, 0, 1)) if begins <= now_s)


def steady_until(now_s: float, half_life: timedelta | None) -> float:
    """Return until when age alone changes no score; infinite where age does not count."""
    return math.inf if half_life is None else steady_from(now_s, half_life) + half_life.total_seconds() / STEPS


def rank(
    candidates: Candidates,
    query: LexicalQuery,
    *,
    top_k: int,
    now_s: float,
    half_life: timedelta | None,
    tuning: Tuning = PLAIN,
) -> Ranking:
    """Score the candidates and order the best: by score, then the newest event, then name.

    Args:
        candidates: the seeds and what is around them.
        query: weights of the words; no words: empty arrays.
        top_k: how many places.
        now_s: seconds since 1970, against which age is measured.
        half_life: of recency; None: age does not count.
        tuning: what takes part.
    """
    bm25 = lexical.bm25(query.idf, candidates.postings, candidates.length, query.mean_length)
    answers = candidates.answers if tuning.contiguity else candidates.seeds
    best = float(bm25[answers].max(initial=0.0))
    bound = lexical.bound(query.idf)
    relative = bm25 / best if best > 0 else np.zeros_like(bm25)
    cosine = np.zeros_like(bm25) if candidates.cosine is None else np.clip(candidates.cosine, 0.0, 1.0)
    w = _dense_weight(words=bool(query.idf.size), vector=candidates.cosine is not None)
    relevance = w * cosine + (1 - w) * relative
    lent, recency, salience = np.zeros_like(relevance), np.ones_like(relevance), np.ones_like(relevance)
    if tuning.contiguity:
        lent = contiguity(relevance, candidates.session, candidates.position)
    if tuning.bias:
        recency = _recency(steady_from(now_s, half_life) - candidates.event_time_s, half_life)
        salience = BIAS_LOW + (BIAS_HIGH - BIAS_LOW) * candidates.salience
    score = np.round((relevance + lent) * np.clip(recency * salience, BIAS_LOW, BIAS_HIGH), DECIMALS)

    rows = np.flatnonzero(answers)
    order = np.lexsort((candidates.ids[rows], -candidates.event_time_s[rows], -score[rows]))
    chosen = rows[order[:top_k]]
    parts = (bm25 / bound if bound > 0 else bm25, relative, cosine, lent, recency, salience)
    breakdowns = np.round(np.stack([part[chosen] for part in parts], axis=1), DECIMALS).tolist()
    places = zip(candidates.ids[chosen].tolist(), score[chosen].tolist(), breakdowns, strict=True)
    return Ranking(
        tuple(Ranked(id_, value, ScoreBreakdown(*shown)) for id_, value, shown in places),
        round(best / bound, DECIMALS) if bound > 0 else 0.0,
        candidates.truncated,
    )


def _dense_weight(*, words: bool, vector: bool) -> float:
    if words and vector:
        return DENSE_WEIGHT
    return 1.0 if vector else 0.0


def _recency(age_s: Floats, half_life: timedelta | None) -> Floats:
    """2^(-age / half-life), 1 for what is yet to come."""
    if half_life is None:
        return np.ones_like(age_s)
    return np.asarray(np.exp2(-np.maximum(age_s, 0.0) / half_life.total_seconds()))
