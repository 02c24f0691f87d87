"""Late interaction: a shortlist ranked again by the words of the query, each compared with all words of a memory.

    match(q, m)   = Σ w(t) · sim(t, m) / Σ w(t)                      sim(t, m): the most similar word piece of m, ≥ 0
    context(t, m) = max(sim(t, m)², 0.7 · sim(t, before m)², 0.5 · sim(t, after m)²)
    close(q, m)   = Σ w(t) · context(t, m) / Σ w(t)
    meaning(m)    = max(0, (close - mean of close) / (best close - mean of close))
    relevance     = 2/3 · meaning + 1/3 · bm25 / best bm25
    score         = (relevance + contiguity) · bias · question · speaker

t are the word pieces of the query, w(t) the idf of the term that t is part of, 1/2 for a stop word. `match` is an
absolute number. Squares are the share of a vector that lies along another; before and after are the memories at the
adjacent positions of the session, which may answer a word that m leaves open. Means and neighbours are those of the
shortlist. See docs/recall.md for sources and for what each part is worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.ranking.bm25 import Floats
from somabrain_service.domain.ranking.contiguity import contiguity
from somabrain_service.domain.ranking.score import BIAS_HIGH, BIAS_LOW, DECIMALS, Ranking, ScoredMemory
from somabrain_service.domain.recall import ScoreBreakdown

SHORTLIST_SIZE = 200
"""Maximum memories that are ranked again."""
MAX_TOKEN_BYTES = 2**20
"""Maximum bytes of token vectors that one query is compared with."""

MEANING_WEIGHT = 2 / 3
STOP_WORD_WEIGHT = 0.5
BEFORE_SHARE, AFTER_SHARE = 0.7, 0.5
QUESTION_DISCOUNT = 0.4
SPEAKER_FACTOR = 1.2


@dataclass(frozen=True)
class Shortlist:
    """Memories to rank again, one per row, in the order of a first ranking.

    `similarity`: float64[t, n], of each word piece of the query to its nearest one of the memory, at least 0;
    `compared`: whether it has vectors of word pieces that were compared, bool[n]; `session`: equal numbers for one
    session, negative for none; `event_time_s`: seconds since 1970; `questions`: share of the text's sentences that are
    questions, 0 to 1; `speakers`: who said it, empty if that is unknown; `truncated`: whether the text has more word
    pieces than vectors; `missing`: some of the memories have no such vectors yet.

    Memories are compared in their order until MAX_TOKEN_BYTES of vectors are, and the first in any case.
    """

    similarity: Floats
    compared: NDArray[np.bool_]
    session: NDArray[np.int64]
    position: NDArray[np.int64]
    event_time_s: Floats
    questions: Floats
    speakers: Sequence[str]
    truncated: Sequence[bool]
    missing: bool


@dataclass(frozen=True)
class QueryWords:
    """A query's part in late interaction: weights of word pieces, float64[t], and the query's words in lower case.

    `has_terms`: the words were also compared by BM25.
    """

    weights: Floats
    words: frozenset[str]
    has_terms: bool


def rerank(
    ranking: Ranking, shortlist: Shortlist, query: QueryWords, *, top_k: int, context: bool, priors: bool
) -> Ranking:
    """Rank a shortlist again, and return its best.

    Args:
        ranking: the shortlist's first ranking; its hits are the rows of `shortlist`.
        shortlist: at least one of its memories has vectors.
        query: the query's word pieces.
        top_k: maximum number of hits.
        context: whether adjacent memories contribute.
        priors: whether questions count less, and the words of a named speaker more.
    """
    breakdowns: list[ScoreBreakdown] = [hit.breakdown for hit in ranking.hits]
    parts = np.array([(part.lexical_relative, part.dense, part.recency, part.salience) for part in breakdowns]).reshape(
        -1, 4
    )
    relative, dense, recency, salience = parts.T
    match = weighted_mean(query.weights, np.minimum(shortlist.similarity, 1.0))
    close = np.minimum(shortlist.similarity, 1.0) ** 2
    if context:
        close = _with_neighbours(close, shortlist.session, shortlist.position)
    meaning = np.where(
        shortlist.compared,
        above_mean(weighted_mean(query.weights, close), shortlist.compared),
        above_mean(dense, np.ones_like(shortlist.compared)),
    )
    relevance = meaning
    if query.has_terms:
        # A memory without any vector is as relevant as its words are.
        has_meaning = shortlist.compared | (dense > 0)
        relevance = np.where(has_meaning, MEANING_WEIGHT * meaning + (1 - MEANING_WEIGHT) * relative, relative)
    boost = contiguity(relevance, shortlist.session, shortlist.position) if context else np.zeros_like(relevance)
    question, speaker = np.ones_like(relevance), np.ones_like(relevance)
    if priors:
        question = 1 - QUESTION_DISCOUNT * shortlist.questions
        speaker = speaker_factors(shortlist.speakers, query.words)
    bias = np.clip(recency * salience, BIAS_LOW, BIAS_HIGH)
    score = np.round((relevance + boost) * bias * question * speaker, DECIMALS)
    ids = np.array([hit.id for hit in ranking.hits], np.int64)
    order = np.lexsort((ids, -shortlist.event_time_s, -score))[:top_k]
    shown = np.round(np.stack([boost, match, meaning, question, speaker], axis=1), DECIMALS)
    hits = []
    for row in order.tolist():
        hit = ranking.hits[row]
        boost_, match_, meaning_, question_, speaker_ = shown[row].tolist()
        breakdown = hit.breakdown._replace(
            contiguity=boost_,
            match=match_ if shortlist.compared[row] else 0.0,
            meaning=meaning_,
            question=question_,
            speaker=speaker_,
            truncated=bool(shortlist.truncated[row]),
        )
        hits.append(ScoredMemory(hit.id, float(score[row]), breakdown))
    best_match = round(float(match[shortlist.compared].max(initial=0.0)), DECIMALS)
    return replace(ranking, hits=tuple(hits), best_match=best_match, tokens_missing=shortlist.missing)


def weighted_mean(weights: Floats, values: Floats) -> Floats:
    """Return the weighted mean of each column of float64[t, n], added up in the order of rows."""
    total = np.zeros(values.shape[1])
    for weight, row in zip(weights.tolist(), values, strict=True):
        total += weight * row
    return np.asarray(total / max(math.fsum(weights.tolist()), 1e-9))


def above_mean(values: Floats, counted: NDArray[np.bool_]) -> Floats:
    """Return how far each value is above the mean of those counted, 0 to 1 for the best of them."""
    chosen = values[counted].tolist()
    if not chosen:
        return np.zeros_like(values)
    mean, best = math.fsum(chosen) / len(chosen), max(chosen)
    if best - mean <= 1e-9:  # all alike
        return np.asarray(np.where(values >= mean, 1.0, 0.0) if best > 0 else np.zeros_like(values))
    return np.asarray(np.clip((values - mean) / (best - mean), 0.0, 1.0))


def speaker_factors(speakers: Sequence[str], words: frozenset[str]) -> Floats:
    """Return the factor of each memory: above 1 for those of the one speaker that the query names."""
    named = {speaker for speaker in set(speakers) if speaker and set(speaker.split()) <= words}
    factor = SPEAKER_FACTOR if len(named) == 1 else 1.0
    return np.array([factor if speaker in named else 1.0 for speaker in speakers])


def _with_neighbours(close: Floats, session: NDArray[np.int64], position: NDArray[np.int64]) -> Floats:
    """Return, for each word piece and memory, the best of the memory's own and of what its neighbours lend it."""
    order = np.lexsort((position, session))
    adjacent = (np.diff(session[order]) == 0) & (np.diff(position[order]) == 1) & (session[order][1:] >= 0)
    before, after = order[:-1][adjacent], order[1:][adjacent]
    result: Floats = close.copy()
    result[:, after] = np.maximum(result[:, after], BEFORE_SHARE * close[:, before])
    result[:, before] = np.maximum(result[:, before], AFTER_SHARE * close[:, after])
    return result
