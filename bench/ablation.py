"""Ablation of parts of Recall's first ranking that the server cannot switch off: the pure scorer over all memories.

Uses only functions of `somabrain_service.domain` and the image's encoder; each row removes one part. The first row must
equal the server's figure without late interaction, which shows that the scorer and the server agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.dialogue import Question
from bench.retrieval_figures import share_retrieved
from bench.token_similarity import EncodedConversation
from somabrain_service.domain import analyzer
from somabrain_service.domain.analyzer import Analyzer
from somabrain_service.domain.ranking import bm25
from somabrain_service.domain.ranking.bm25 import Floats, Postings
from somabrain_service.domain.ranking.contiguity import BACKWARD_WEIGHT, FORWARD_WEIGHT, KERNEL_WIDTH, contiguity
from somabrain_service.domain.ranking.fixed_point import fixed_point
from somabrain_service.domain.ranking.score import DECIMALS, DENSE_WEIGHT

K = 10
LANGUAGE = "en"

Numbers = NDArray[np.int64]
Terms = Callable[[str], Counter[str]]


@dataclass(frozen=True, eq=False)
class ScoredQuestion:
    """A question's raw scores against every memory of its conversation. `idf`: by term of the question."""

    question: Question
    turn_ids: Sequence[str]
    idf: dict[str, float]
    bm25: Floats
    cosine: Floats
    session: Numbers
    position: Numbers

    @property
    def relative(self) -> Floats:
        """BM25 as a share of the best."""
        best = float(self.bm25.max())
        return self.bm25 / best if best else self.bm25

    @property
    def relevance(self) -> Floats:
        """Mean of cosine and relative BM25."""
        return DENSE_WEIGHT * self.cosine + (1 - DENSE_WEIGHT) * self.relative

    @cached_property
    def first_ranking(self) -> Numbers:
        """Rows of all memories, best first."""
        return ranked(self.relevance + contiguity(self.relevance, self.session, self.position))

    def recall(self, rows: Numbers) -> float:
        """Return the share of the evidence among these rows."""
        return share_retrieved(self.question.evidence, [self.turn_ids[row] for row in rows])


def ranked(score: Floats) -> Numbers:
    """Return the rows, best score first, then the last one, because turns are in the order of time."""
    return np.lexsort((-np.arange(len(score)), -np.round(score, DECIMALS)))


def rows(conversations: list[EncodedConversation]) -> Iterator[tuple[str, float]]:
    """Yield each removed part and the evidence recall without it."""
    english = analyzer.latest_analyzer(LANGUAGE)
    plain = score_questions(conversations)

    def figure(score: Callable[[ScoredQuestion], Floats], questions: list[ScoredQuestion] = plain) -> float:
        return float(np.mean([one.recall(ranked(score(one))[:K]) for one in questions]))

    def whole(one: ScoredQuestion) -> Floats:
        return one.relevance + contiguity(one.relevance, one.session, one.position)

    yield "late interaction: the first ranking", figure(whole)
    yield "late interaction, edge scaling", figure(lambda one: one.relevance + _unscaled(one))
    unlisted = replace(english, stop_words=frozenset())
    yield "late interaction, the stop list", figure(whole, score_questions(conversations, unlisted.terms))
    yield "late interaction, stems", figure(whole, score_questions(conversations, _unstemmed(english)))
    yield "late interaction, scores: reciprocal ranks in their place", figure(_fused)


def score_questions(conversations: list[EncodedConversation], terms: Terms | None = None) -> list[ScoredQuestion]:
    """Return the questions of all conversations, in order. `terms` None: those of the English analyzer."""
    chosen = terms or analyzer.latest_analyzer(LANGUAGE).terms
    return [one for conversation in conversations for one in _score_conversation(conversation, chosen)]


def _score_conversation(encoded: EncodedConversation, terms: Terms) -> Iterator[ScoredQuestion]:
    turns = encoded.conversation.turns
    memories = fixed_point(np.array([turn.vector for turn in encoded.turns]))
    documents = [terms(turn.text) for turn in turns]
    length = np.array([document.total() for document in documents], float)
    df = Counter(term for document in documents for term in document)
    numbers = {session: number for number, session in enumerate(dict.fromkeys(turn.session for turn in turns))}
    session = np.array([numbers[turn.session] for turn in turns], np.int64)
    position = np.array([turn.position for turn in turns], np.int64)
    ids = [turn.id for turn in turns]
    for question, output in zip(encoded.conversation.questions, encoded.questions, strict=True):
        words = sorted(terms(question.text))
        occurrences = [(i, j, n) for j, word in enumerate(words) for i, d in enumerate(documents) if (n := d[word])]
        row, term, tf = np.array(occurrences, np.int64).reshape(-1, 3).T
        weights = bm25.idf(len(documents), [df[word] for word in words])
        lexical_scores = bm25.scores(weights, Postings(row, term, tf.astype(float)), length, float(length.mean()))
        cosine = np.clip(memories @ fixed_point(output.vector), 0, 1).astype(float)
        idf = dict(zip(words, weights.tolist(), strict=True))
        yield ScoredQuestion(question, ids, idf, lexical_scores, cosine, session, position)


def _unstemmed(stemming: Analyzer) -> Terms:
    words = analyzer.latest_analyzer("mul")
    return lambda text: Counter({w: n for w, n in words.terms(text).items() if w not in stemming.stop_words})


def _unscaled(one: ScoredQuestion) -> Floats:
    """Return the contiguity with a kernel that is not scaled at the edges of a session."""
    boost = np.zeros_like(one.relevance)
    for i in range(len(boost)):
        near = (one.session == one.session[i]) & (abs(one.position - one.position[i]) <= KERNEL_WIDTH)
        near[i] = False
        away = one.position[near] - one.position[i]
        boost[i] = (
            np.where(away < 0, FORWARD_WEIGHT, BACKWARD_WEIGHT) * np.exp2(1.0 - abs(away)) * one.relevance[near]
        ).sum()
    return boost


def _fused(one: ScoredQuestion) -> Floats:
    """Return the reciprocal rank fusion (Cormack, Clarke & Büttcher 2009; k = 60), with contiguity."""
    ranks = [np.argsort(np.argsort(-scores)) + 1 for scores in (one.relative, one.cosine)]
    fused: Floats = 30.5 * (1 / (60 + ranks[0]) + 1 / (60 + ranks[1]))
    return fused + contiguity(fused, one.session, one.position)
