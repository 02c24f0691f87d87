"""Properties of the scorer that are true for every state and query."""

from __future__ import annotations

import math
import random
from dataclasses import fields, replace
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from somabrain_service.domain.ranking import bm25
from somabrain_service.domain.ranking.bm25 import Floats, Postings
from somabrain_service.domain.ranking.contiguity import (
    BACKWARD_WEIGHT,
    FORWARD_WEIGHT,
    KERNEL_WEIGHT,
    KERNEL_WIDTH,
    MAX_SHARE,
    contiguity,
    within_reach,
)
from somabrain_service.domain.ranking.exp2 import exp2_negative
from somabrain_service.domain.ranking.score import (
    BIAS_HIGH,
    BIAS_LOW,
    Candidates,
    Ranking,
    quantized_now,
    rank,
    score_valid_until,
)

ULP = np.finfo(np.float64).eps
NOW_S = 1_700_000_000.0
HALF_LIFE = timedelta(days=1)


class Query(NamedTuple):
    """The statistics of a query's terms, as `rank` takes them."""

    idf: Floats
    mean_length: float


def unit(low: float = 0.0, high: float = 1.0) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


def postings(tf: Floats) -> Postings:
    """Postings that have the given term frequencies."""
    row, term = np.nonzero(tf)
    return Postings(row, term, tf[row, term])


@st.composite
def states(draw: st.DrawFn, most: int = 12) -> tuple[Candidates, Query]:
    """Candidates with few distinct values, so that ties are common, and a query's terms."""
    n, t = draw(st.integers(1, most)), draw(st.integers(0, 4))
    places = draw(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 12)), min_size=n, max_size=n, unique=True))
    chosen = Candidates(
        ids=np.array(draw(st.lists(st.integers(1, 10**6), min_size=n, max_size=n, unique=True)), np.int64),
        seeds=np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), np.bool_),
        session=np.array([session for session, _ in places], np.int64),
        position=np.array([position for _, position in places], np.int64),
        event_time_s=NOW_S - draw(hnp.arrays(float, n, elements=st.sampled_from([0.0, 60.0, 1e5, -60.0]))),
        salience=draw(hnp.arrays(float, n, elements=st.sampled_from([0.0, 0.5, 1.0]))),
        doc_length=draw(hnp.arrays(float, n, elements=st.integers(1, 30).map(float))),
        postings=postings(draw(hnp.arrays(float, (n, t), elements=st.integers(0, 3).map(float)))),
        cosine=draw(st.none() | hnp.arrays(float, n, elements=unit(-1, 1))),
    )
    idf = draw(hnp.arrays(float, t, elements=unit(0.01, 10)))
    return chosen, Query(idf, draw(unit(1, 30)))


def ranked(candidates: Candidates, query: Query, half_life: timedelta | None = HALF_LIFE) -> Ranking:
    return ranked_at(NOW_S, candidates, query, half_life)


def ranked_at(now_s: float, candidates: Candidates, query: Query, half_life: timedelta | None) -> Ranking:
    return rank(candidates, **query._asdict(), top_k=200, now_s=now_s, half_life=half_life)


def shuffled(candidates: Candidates, order: list[int], chance: random.Random) -> Candidates:
    """The same candidates with their rows and postings in another order."""
    columns = {field.name for field in fields(Candidates)} - {"postings", "truncated"}
    values = {name: getattr(candidates, name) for name in columns}
    p = candidates.postings
    mixed = list(range(len(p.row)))
    chance.shuffle(mixed)
    return replace(
        candidates,
        **{name: value[order] for name, value in values.items() if value is not None},
        postings=Postings(np.argsort(order)[p.row][mixed], p.term[mixed], p.tf[mixed]),
    )


@given(states(), st.data())
def test_ranking_is_independent_of_row_order(state: tuple[Candidates, Query], data: st.DataObject) -> None:
    candidates, query = state
    order = data.draw(st.permutations(range(len(candidates.ids))))
    assert ranked(shuffled(candidates, list(order), data.draw(st.randoms())), query) == ranked(candidates, query)


@given(states())
def test_hits_are_ordered_by_score_time_and_name(state: tuple[Candidates, Query]) -> None:
    candidates, query = state
    when = dict(zip(candidates.ids.tolist(), candidates.event_time_s.tolist(), strict=True))
    keys = [(-hit.score, -when[hit.id], hit.id) for hit in ranked(candidates, query).hits]
    assert keys == sorted(keys)
    assert len(keys) == candidates.eligible.sum()


@given(states())
def test_score_equals_formula_of_breakdown(state: tuple[Candidates, Query]) -> None:
    candidates, query = state
    words, vector = bool(query.idf.size), candidates.cosine is not None
    w = 0.5 if words and vector else float(vector)
    for hit in ranked(candidates, query).hits:
        b = hit.breakdown
        bias = min(max(b.recency * b.salience, BIAS_LOW), BIAS_HIGH)
        expected = (w * b.dense + (1 - w) * b.lexical_relative + b.contiguity) * bias
        assert hit.score == pytest.approx(expected, abs=2e-5)


@given(states())
def test_score_parts_are_bounded(state: tuple[Candidates, Query]) -> None:
    ranking = ranked(*state)
    for hit in ranking.hits:
        b = hit.breakdown
        assert 0 <= b.lexical <= ranking.best_lexical < 1
        assert 0 <= b.lexical_relative <= 1
        assert 0 <= b.dense <= 1
        assert 0 <= b.contiguity <= KERNEL_WEIGHT / BACKWARD_WEIGHT
        assert 0 <= b.recency <= 1
        assert 0.7 <= b.salience <= 1.3


@given(states(), st.data())
def test_score_is_monotonic_in_cosine_salience_and_recency(
    state: tuple[Candidates, Query], data: st.DataObject
) -> None:
    """The score is monotone in the memory's own cosine, salience and recency."""
    candidates, query = state
    row = data.draw(st.integers(0, len(candidates.ids) - 1))
    candidates = replace(candidates, seeds=np.ones_like(candidates.seeds))

    def score(changed: Candidates) -> float:
        return next(p.score for p in ranked(changed, query).hits if p.id == candidates.ids[row])

    before = score(candidates)
    more = {"salience": 1.0, "event_time_s": NOW_S} | ({} if candidates.cosine is None else {"cosine": 1.0})
    for name, value in more.items():
        column = getattr(candidates, name).copy()
        column[row] = max(column[row], value)
        assert score(replace(candidates, **{name: column})) >= before


@given(states())
def test_bias_is_bounded_and_neutral_without_half_life(
    state: tuple[Candidates, Query],
) -> None:
    candidates, query = state
    neutral = replace(candidates, salience=np.full(len(candidates.ids), 0.5))
    plain = {p.id: p.score for p in ranked(neutral, query, None).hits}
    assert all(p.breakdown.recency == p.breakdown.salience == 1 for p in ranked(neutral, query, None).hits)
    for hit in ranked(candidates, query).hits:
        assert BIAS_LOW * plain[hit.id] - 2e-6 <= hit.score <= BIAS_HIGH * plain[hit.id] + 2e-6


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 20)), min_size=1, max_size=30, unique=True), st.data())
def test_contiguity_equals_definition(places: list[tuple[int, int]], data: st.DataObject) -> None:
    r = data.draw(hnp.arrays(float, len(places), elements=unit()))
    session, position = (np.array(column, np.int64) for column in zip(*places, strict=True))
    contributions = contiguity(r, session, position)
    for i, (s, p) in enumerate(places):
        weights: dict[int, float] = {}
        for j, (other, q) in enumerate(places):
            if s >= 0 and other == s and 1 <= abs(p - q) <= KERNEL_WIDTH:
                weights[j] = (FORWARD_WEIGHT if q < p else BACKWARD_WEIGHT) * 2.0 ** (1 - abs(p - q))
        expected = 0.0
        if weights:
            scale = min(KERNEL_WEIGHT / sum(weights.values()), MAX_SHARE / max(weights.values()))
            expected = scale * sum(weight * float(r[j]) for j, weight in weights.items())
        assert contributions[i] == pytest.approx(expected, abs=1e-9)


@given(unit(0.01, 1))
def test_relevant_memory_outranks_its_only_neighbour(relevance: float) -> None:
    for answer in (0, 1):
        r: Floats = np.zeros(2)
        r[answer] = relevance
        score = r + contiguity(r, np.zeros(2, np.int64), np.arange(2))
        assert score[answer] > score[1 - answer]


def test_contiguity_kernel_weights_and_edge_scaling() -> None:
    """The kernel has the numbers of docs/recall.md: 0.5 and 0.3, halved with each step; 1.6 and 8/3 at the edges."""
    r: Floats = np.zeros(20)
    r[10] = 1.0
    contributions = contiguity(r, np.zeros(20, np.int64), np.arange(20))
    assert contributions[6:15].tolist() == pytest.approx([0.0375, 0.075, 0.15, 0.3, 0, 0.5, 0.25, 0.125, 0.0625])
    first: Floats = np.zeros(20)
    first[1] = 1.0
    assert contiguity(first, np.zeros(20, np.int64), np.arange(20))[0] == pytest.approx(0.3 * 8 / 3)
    last: Floats = np.zeros(20)
    last[18] = 1.0
    assert contiguity(last, np.zeros(20, np.int64), np.arange(20))[19] == pytest.approx(0.5 * 1.6)


def test_candidates_are_seeds_and_session_neighbours() -> None:
    seeds = np.zeros(30, np.bool_)
    seeds[[10, 29]] = True
    session = np.array([0] * 15 + [1] * 14 + [-1])
    reached = within_reach(seeds, session, np.arange(30))
    assert np.flatnonzero(reached).tolist() == [6, 7, 8, 9, 10, 11, 12, 13, 14, 29]


@given(st.integers(1, 10**6), st.data())
@settings(max_examples=50)
def test_idf_is_positive_and_decreases_with_frequency(memories: int, data: st.DataObject) -> None:
    df = sorted(data.draw(st.lists(st.integers(0, memories), min_size=1, max_size=20, unique=True)))
    weights = bm25.idf(memories, df)
    assert (weights > 0).all()
    assert (np.diff(weights) < 0).all()


def test_bm25_equals_definition() -> None:
    """BM25 equals a hand-computed example: memories of 10 and 20 terms, mean 15, k1 0.9, b 0.4."""
    tf, length = np.array([[1.0, 0.0], [2.0, 3.0]]), np.array([10.0, 20.0])
    scores = bm25.scores(np.array([1.5, 0.5]), postings(tf), length, 15.0)
    assert scores[0] == pytest.approx(1.5 * 1.9 / (1 + 0.9 * (0.6 + 0.4 * 10 / 15)))
    assert scores[1] == pytest.approx((1.5 * 2 / (2 + 1.02) + 0.5 * 3 / (3 + 1.02)) * 1.9)
    assert bm25.max_score(np.array([1.5, 0.5])) == pytest.approx(3.8)


def test_common_terms_are_not_selective_beside_rarer_ones() -> None:
    assert bm25.selective_terms(100, [11, 10, 0]) == [False, True, False]
    assert bm25.selective_terms(100, [90, 11, 0]) == [True, True, False]
    assert bm25.selective_terms(100, []) == []


@given(states(), st.floats(0, 0.99), st.floats(0, 0.99), st.timedeltas(timedelta(minutes=1), timedelta(days=3650)))
def test_scores_are_constant_within_half_life_step(
    state: tuple[Candidates, Query], early: float, late: float, half_life: timedelta
) -> None:
    """Scores are bitwise equal within one step of the half-life, and no age is off by more than a step."""
    begins, ends = quantized_now(NOW_S, half_life), score_valid_until(NOW_S, half_life)
    assert begins <= NOW_S < ends
    assert quantized_now(begins, half_life) == begins
    earlier, later = (ranked_at(begins + share * (ends - begins), *state, half_life) for share in (early, late))
    assert earlier == later
    assert ends - begins == pytest.approx(half_life.total_seconds() / 1024, rel=1e-3)
    assert score_valid_until(NOW_S, None) == math.inf


@given(states(), st.data())
def test_bm25_is_monotonic_in_term_frequency(state: tuple[Candidates, Query], data: st.DataObject) -> None:
    candidates, query = state
    tf = candidates.postings.tf
    if len(tf):
        at = data.draw(st.integers(0, len(tf) - 1))
        more = replace(candidates.postings, tf=tf + (np.arange(len(tf)) == at))
        before, after = (
            bm25.scores(query.idf, postings, candidates.doc_length, query.mean_length)
            for postings in (candidates.postings, more)
        )
        assert (after >= before).all()
        assert after[more.row[at]] > before[more.row[at]]


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 20)), min_size=1, max_size=30, unique=True), st.data())
def test_contiguity_is_monotonic_in_relevance(places: list[tuple[int, int]], data: st.DataObject) -> None:
    r = data.draw(hnp.arrays(float, len(places), elements=unit()))
    at = data.draw(st.integers(0, len(places) - 1))
    session, position = (np.array(column, np.int64) for column in zip(*places, strict=True))
    more = r.copy()
    more[at] = 1.0
    assert (contiguity(more, session, position) >= contiguity(r, session, position) - 1e-12).all()


def test_exp2_negative_is_accurate_to_two_ulp() -> None:
    """2^-x by additions and multiplications alone is within two units in the last place, and exact for whole x."""
    x = np.concatenate((np.linspace(0, 64, 50_001), np.arange(65.0)))
    power = exp2_negative(x)
    assert (np.abs(power - np.exp2(-x)) <= 2 * ULP * np.exp2(-x)).all()
    assert np.array_equal(exp2_negative(np.arange(65.0)), 0.5 ** np.arange(65))
    assert exp2_negative(np.array([1e300, np.inf])).tolist() == [2.0**-64, 2.0**-64]
