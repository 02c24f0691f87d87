"""Properties of late interaction that are true for every shortlist and query."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from somabrain_service.domain.ranking.bm25 import Floats
from somabrain_service.domain.ranking.late_interaction import (
    AFTER_SHARE,
    BEFORE_SHARE,
    QUESTION_DISCOUNT,
    SPEAKER_FACTOR,
    QueryWords,
    Shortlist,
    above_mean,
    rerank,
    speaker_factors,
    weighted_mean,
)
from somabrain_service.domain.ranking.score import Ranking, ScoredMemory
from somabrain_service.domain.recall import ScoreBreakdown

QUERY = QueryWords(np.array([2.0, 1.0, 0.5]), frozenset({"ada", "bees"}), has_terms=True)


def shortlist(similarity: Floats) -> Shortlist:
    """A shortlist of consecutive memories of one session, without speakers."""
    count = similarity.shape[1]
    return Shortlist(
        similarity=similarity,
        compared=np.ones(count, np.bool_),
        session=np.zeros(count, np.int64),
        position=np.arange(count, dtype=np.int64),
        event_time_s=np.arange(count, dtype=np.float64),
        questions=np.zeros(count),
        speakers=[""] * count,
        truncated=[False] * count,
        missing=False,
    )


def first_ranking(count: int, relative: float = 0.0, dense: float = 0.0) -> Ranking:
    """A first ranking of memories that are all alike."""
    breakdown = ScoreBreakdown(0.0, relative, dense, 0.0, 1.0, 1.0)
    return Ranking(tuple(ScoredMemory(number, 0.5, breakdown) for number in range(count)), 0.25, truncated=False)


def ranked(
    memories: Shortlist, first: Ranking | None = None, *, context: bool = False, priors: bool = False, top_k: int = 100
) -> Ranking:
    """Rank the shortlist again."""
    first = first or first_ranking(len(memories.speakers))
    return rerank(first, memories, QUERY, top_k=top_k, context=context, priors=priors)


def scores(ranking: Ranking) -> dict[int, float]:
    return {hit.id: hit.score for hit in ranking.hits}


similarities = hnp.arrays(np.float64, st.tuples(st.just(3), st.integers(1, 12)), elements=st.floats(0, 1.25, width=32))


@given(similarities, st.booleans(), st.booleans())
def test_match_and_meaning_are_bounded(similarity: Floats, context: bool, priors: bool) -> None:
    """match and meaning are numbers from 0 to 1, and best_match is the highest match of all."""
    result = ranked(shortlist(similarity), context=context, priors=priors)
    parts = [hit.breakdown for hit in result.hits]
    assert all(0 <= part.match <= 1 and 0 <= part.meaning <= 1 for part in parts)
    assert result.best_match == max(part.match for part in parts)


@given(similarities, st.integers(0, 2), st.floats(0, 0.5))
def test_higher_similarity_never_lowers_rank(similarity: Floats, word: int, nearer: float) -> None:
    """Raising one similarity of a memory moves no lower-ranked memory above it."""
    before = ranked(shortlist(similarity))
    raised = similarity.copy()
    raised[word, 0] = min(raised[word, 0] + nearer, 1.25)
    after = ranked(shortlist(raised))
    was_ahead_of = {other for other, score in scores(before).items() if score < scores(before)[0]}
    assert all(scores(after)[other] <= scores(after)[0] for other in was_ahead_of)


@given(similarities, st.randoms(use_true_random=False))
def test_scores_are_independent_of_shortlist_order(similarity: Floats, random: object) -> None:
    """A ranking depends on the memories of the shortlist, and not on their order in it."""
    memories, first = shortlist(similarity), first_ranking(similarity.shape[1], relative=0.5)
    order = list(range(similarity.shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = Shortlist(
        similarity[:, order],
        memories.compared[order],
        memories.session[order],
        memories.position[order],
        memories.event_time_s[order],
        memories.questions[order],
        memories.speakers,
        memories.truncated,
        missing=False,
    )
    again = ranked(shuffled, replace(first, hits=tuple(first.hits[number] for number in order)), context=True)
    assert again == ranked(memories, first, context=True)


def test_neighbour_contributes_to_unmatched_words() -> None:
    """A word matched by the preceding memory counts for .7 of its square, one matched by the following one for half."""
    similarity = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    memories = replace(shortlist(similarity), position=np.array([0, 1, 5, 6]))
    close = weighted_mean(QUERY.weights, np.array([[0.0] * 4, [1.0, BEFORE_SHARE, AFTER_SHARE, 1.0], [0.0] * 4]))
    expected = np.round(above_mean(close, np.ones(4, np.bool_)), 6)
    # Contiguity is another part: what is compared here is the meaning alone.
    parts = {hit.id: hit.breakdown.meaning for hit in ranked(memories, context=True).hits}
    assert [parts[number] for number in range(4)] == expected.tolist()
    alone = {hit.id: hit.breakdown.meaning for hit in ranked(memories, context=False).hits}
    assert (alone[1], alone[2]) == (0.0, 0.0)


def test_memory_of_other_session_contributes_nothing() -> None:
    """Positions are compared within a session; memories without a session have no neighbours."""
    similarity = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    for session in ([0, 1, 1], [-1, -1, -1]):
        memories = replace(shortlist(similarity), session=np.array(session))
        assert ranked(memories, context=True) == ranked(memories, context=False)


def test_pooled_cosine_replaces_missing_token_vectors() -> None:
    """A memory whose words were not compared is ranked by its cosine, compared with those of all."""
    memories = replace(shortlist(np.array([[0.9, 0.0], [0.9, 0.0], [0.9, 0.0]])), compared=np.array([True, False]))
    first = first_ranking(2)
    near = first.hits[1]._replace(breakdown=first.hits[1].breakdown._replace(dense=0.8))
    result = ranked(memories, replace(first, hits=(first.hits[0], near)))
    parts = {hit.id: hit.breakdown for hit in result.hits}
    assert (parts[1].meaning, parts[1].match, parts[0].meaning) == (1.0, 0.0, 1.0)
    assert result.best_match == 0.9


def test_lexical_score_replaces_missing_vectors() -> None:
    """A memory without any vector is ranked by its lexical score, without a penalty for the missing vectors."""
    memories = replace(shortlist(np.array([[0.2, 0.0]] * 3)), compared=np.array([True, False]))
    first = first_ranking(2)
    named = first.hits[1]._replace(breakdown=first.hits[1].breakdown._replace(lexical_relative=1.0))
    result = ranked(memories, replace(first, hits=(first.hits[0], named)))
    assert scores(result) == {1: 1.0, 0: 0.666667}


def test_question_and_speaker_factors_apply_only_with_priors() -> None:
    """The factors are those of docs/recall.md, and 1 without priors."""
    memories = replace(shortlist(np.ones((3, 3))), questions=np.array([0.0, 1.0, 0.5]), speakers=["ada", "ben", "ada"])
    parts = {hit.id: hit.breakdown for hit in ranked(memories, priors=True).hits}
    assert [parts[n].question for n in range(3)] == [1.0, 1 - QUESTION_DISCOUNT, 1 - QUESTION_DISCOUNT / 2]
    assert [parts[n].speaker for n in range(3)] == [SPEAKER_FACTOR, 1.0, SPEAKER_FACTOR]
    assert {(hit.breakdown.question, hit.breakdown.speaker) for hit in ranked(memories).hits} == {(1.0, 1.0)}


@pytest.mark.parametrize(
    ("speakers", "favoured"),
    [
        (["ada", "ben"], [True, False]),
        (["ada", "bees"], [False, False]),
        (["ada lovelace", "ben"], [False, False]),
        (["", "ben"], [False, False]),
    ],
)
def test_speaker_factor_requires_exactly_one_named_speaker(speakers: list[str], favoured: list[bool]) -> None:
    """A speaker is named if all words of the name are in the query; with two named speakers neither is favoured."""
    assert [factor > 1 for factor in speaker_factors(speakers, QUERY.words)] == favoured


def test_query_without_terms_is_ranked_by_meaning() -> None:
    """Without terms the score is the meaning alone, as the lexical score is undefined."""
    query = replace(QUERY, has_terms=False)
    result = rerank(
        first_ranking(2), shortlist(np.array([[0.9, 0.1]] * 3)), query, top_k=2, context=False, priors=False
    )
    assert [(hit.id, hit.score) for hit in result.hits] == [(0, 1.0), (1, 0.0)]


def test_ties_are_ordered_by_time_then_name() -> None:
    """Ties are broken by the newest event, then by the lowest name, as in the first ranking."""
    memories = replace(shortlist(np.ones((3, 3))), event_time_s=np.array([1.0, 2.0, 2.0]), session=np.full(3, -1))
    assert [hit.id for hit in ranked(memories, top_k=2).hits] == [1, 2]
