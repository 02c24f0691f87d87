"""At its default constants the scorer reproduces the service's formula and quantization."""

from __future__ import annotations

import numpy as np
import pytest

from bench.ablation import ScoredQuestion
from bench.dialogue import Question
from bench.late_scorer import Cut, LateQuestion
from bench.late_tables import DEFAULTS, GRID, PARTS_OFF, LeaveOneOut, overlap
from bench.token_similarity import bytes_per_piece, quantized
from somabrain_service.domain import token_vectors
from somabrain_service.domain.ranking.late_interaction import QueryWords, Shortlist, rerank
from somabrain_service.domain.ranking.score import Ranking, ScoredMemory
from somabrain_service.domain.recall import ScoreBreakdown

DIMENSIONS = 384


def random_question(rng: np.random.Generator, memories: int) -> LateQuestion:
    """Return a question with random similarities, about memories in sessions with gaps."""
    session = np.sort(rng.integers(0, 4, memories))
    position = np.array([2 * number + (number > memories // 2) for number in range(memories)])
    position[::3] -= 1
    first = ScoredQuestion(
        Question("Where?", frozenset({str(rng.integers(memories))}), frozenset({"0"}), "none"),
        [str(row) for row in range(memories)],
        {"where": 1.5},
        rng.random(memories),
        rng.random(memories),
        session,
        position,
    )
    idf = np.where(rng.random(5) < 0.4, 0.0, rng.random(5) * 4)
    questions = np.where(rng.random(memories) < 0.3, 1.0, 0.0)
    is_speaker = rng.random(memories) < 0.5
    return LateQuestion(first, np.arange(memories), rng.random((5, memories)), idf, questions, is_speaker)


def service_order(one: LateQuestion, top_k: int) -> list[int]:
    """Return the rows, best first, by the service's formula."""
    relative = one.first.relative
    hits = tuple(
        ScoredMemory(row, 0.0, ScoreBreakdown(0.0, float(relative[row]), float(one.first.cosine[row]), 0.0, 1.0, 1.0))
        for row in one.rows.tolist()
    )
    count = len(one.rows)
    shortlist = Shortlist(
        similarity=one.similarity,
        compared=np.ones(count, np.bool_),
        session=one.first.session,
        position=one.first.position,
        event_time_s=one.rows.astype(float),
        questions=one.questions,
        speakers=["ada" if chosen else "bob" for chosen in one.is_speaker],
        truncated=[False] * count,
        missing=False,
    )
    query = QueryWords(np.where(one.idf > 0, one.idf, DEFAULTS.stop_word), frozenset({"ada"}), has_terms=True)
    ranking = rerank(Ranking(hits, 0.5, False), shortlist, query, top_k=top_k, context=True, priors=True)
    return [hit.id for hit in ranking.hits]


@pytest.mark.parametrize("seed", range(8))
def test_default_constants_reproduce_service_ranking(seed: int) -> None:
    """Figures of the scorer are valid for the product: its defaults are the service's constants."""
    one = random_question(np.random.default_rng(seed), 40)
    assert one.order(DEFAULTS).tolist() == service_order(one, 40)
    assert one.order(PARTS_OFF).tolist() != service_order(one, 40)


def test_two_bit_quantization_matches_service() -> None:
    """A similarity differs from the service's by the rounding of norms and of the query only."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(30, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = token_vectors.query_tokens(vectors[:4], np.zeros((4, 2), np.int32))
    of_service = token_vectors.similarities(query, token_vectors.quantize(vectors))
    assert np.allclose(vectors[:4] @ quantized(vectors, 2).T, of_service, atol=0.01)
    assert bytes_per_piece(DIMENSIONS, 2) == token_vectors.bytes_per_piece(DIMENSIONS)


def test_quantization_error_decreases_with_bits() -> None:
    """Each number of bits estimates products better than the one before, and that of a vector with itself exactly."""
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(50, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = vectors @ vectors.T
    errors = []
    for bits in (1, 2, 4, 8):
        estimated = vectors @ quantized(vectors, bits).T
        assert np.allclose(np.diag(estimated), 1, atol=1e-5)
        errors.append(float(np.abs(estimated - exact).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 20


def test_cut_respects_memory_and_byte_bounds() -> None:
    """The cut has the best rows within both bounds, in the order of rows."""
    ranking, sizes = np.array([4, 1, 3, 0, 2]), np.array([5, 10, 5, 10, 20])
    assert Cut(memories=2, bytes=None).rows(ranking, sizes).tolist() == [1, 4]
    assert Cut(memories=None, bytes=40).rows(ranking, sizes).tolist() == [1, 3, 4]
    assert Cut(memories=None, bytes=None).rows(ranking, sizes).tolist() == [0, 1, 2, 3, 4]


def test_leave_one_out_ignores_excluded_conversation() -> None:
    """Changing the evidence of one conversation changes what the others choose, and not what it chooses itself."""
    rng = np.random.default_rng(11)
    conversations = [[random_question(rng, 30) for _ in range(8)] for _ in range(3)]
    before = list(LeaveOneOut(conversations).results())
    changed = [conversations[0], conversations[1], [random_question(rng, 30) for _ in range(8)]]
    after = list(LeaveOneOut(changed).results())
    assert after[2].constants == before[2].constants
    assert [one.constants for one in after[:2]] != [one.constants for one in before[:2]]
    values = {name: set(choices) | {getattr(PARTS_OFF, name)} for name, choices in GRID.items()}
    assert all(getattr(one.constants, name) in values[name] for one in before for name in GRID)


def test_overlap_of_ranking_with_itself_is_one() -> None:
    """Equal top tens count as equal; a shortlist that lacks one of them does not."""
    rng = np.random.default_rng(13)
    whole = random_question(rng, 30)
    assert (overlap([whole], [whole]).equal, overlap([whole], [whole]).common) == (1.0, 1.0)
    without_best = np.sort(whole.order(DEFAULTS)[1:])
    cut = LateQuestion(
        whole.first,
        without_best,
        whole.similarity[:, without_best],
        whole.idf,
        whole.questions[without_best],
        whole.is_speaker[without_best],
    )
    assert overlap([whole], [cut]).equal == 0.0
    assert overlap([whole], [cut]).common < 1.0
