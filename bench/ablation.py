"""Ablation of parts of Recall that the server cannot switch off: the pure scorer over all memories, without a cut.

Uses only functions of `somabrain_service.domain` and the image's encoder; each row removes one part. The first row must
equal the server's figure, which shows that the scorer and the server agree.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.conversations import Conversation, K, evidence_recall, mean
from somabrain_service.domain import analyzer
from somabrain_service.domain.analyzer import Analyzer
from somabrain_service.domain.ranking import bm25
from somabrain_service.domain.ranking.bm25 import Floats, Postings
from somabrain_service.domain.ranking.contiguity import BACKWARD_WEIGHT, FORWARD_WEIGHT, KERNEL_WIDTH, contiguity
from somabrain_service.domain.ranking.fixed_point import fixed_point
from somabrain_service.encoders import minilm

Numbers = NDArray[np.int64]
Terms = Callable[[str], Counter[str]]


@dataclass(frozen=True)
class ScoredQuestion:
    """A question's raw scores against every memory of its conversation."""

    conversation: Conversation
    number: int
    bm25: Floats
    cosine: Floats
    session: Numbers
    position: Numbers

    @property
    def relative(self) -> Floats:
        best = float(self.bm25.max())
        return self.bm25 / best if best else self.bm25

    @property
    def relevance(self) -> Floats:
        return 0.5 * self.cosine + 0.5 * self.relative

    def recall(self, score: Floats) -> float:
        """Return the evidence recall of a ranking: best score first, then newest, because turns are in time order."""
        order = np.lexsort((-np.arange(len(score)), -np.round(score, 6)))[:K]
        return evidence_recall(
            self.conversation["questions"][self.number], [self.conversation["turns"][i]["id"] for i in order]
        )


def rows(conversations: list[Conversation]) -> Iterator[tuple[str, float]]:
    """Yield each removed part and the evidence recall without it."""
    english = analyzer.latest_analyzer("en")
    vectors = asyncio.run(_encode(conversations))
    plain = list(_score_questions(conversations, vectors, english.terms))

    def figure(score: Callable[[ScoredQuestion], Floats], questions: list[ScoredQuestion] = plain) -> float:
        return mean([one.recall(score(one)) for one in questions])

    def whole(one: ScoredQuestion) -> Floats:
        return one.relevance + contiguity(one.relevance, one.session, one.position)

    yield "nothing: the defaults", figure(whole)
    yield "edge scaling", figure(lambda one: one.relevance + _unscaled(one))
    unlisted = replace(english, stop_words=frozenset())
    yield "the stop list", figure(whole, list(_score_questions(conversations, vectors, unlisted.terms)))
    yield "stems", figure(whole, list(_score_questions(conversations, vectors, _unstemmed(english))))
    yield "scores: reciprocal ranks in their place", figure(_fused)


async def _encode(conversations: list[Conversation]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    encoder = minilm.load(threads=1)
    try:
        return [
            (
                fixed_point(await encoder.encode([turn["text"] for turn in conversation["turns"]])),
                fixed_point(await encoder.encode([one["question"] for one in conversation["questions"]])),
            )
            for conversation in conversations
        ]
    finally:
        await encoder.close()


def _score_questions(
    conversations: list[Conversation], vectors: list[tuple[NDArray[np.float32], NDArray[np.float32]]], terms: Terms
) -> Iterator[ScoredQuestion]:
    for conversation, (memories, questions) in zip(conversations, vectors, strict=True):
        documents = [terms(turn["text"]) for turn in conversation["turns"]]
        length = np.array([document.total() for document in documents], float)
        df = Counter(term for document in documents for term in document)
        session = np.array([turn["session"] for turn in conversation["turns"]], np.int64)
        position = np.array([turn["position"] for turn in conversation["turns"]], np.int64)
        for number, question in enumerate(conversation["questions"]):
            words = sorted(terms(question["question"]))
            occurrences = [(i, j, n) for j, word in enumerate(words) for i, d in enumerate(documents) if (n := d[word])]
            row, term, tf = np.array(occurrences, np.int64).reshape(-1, 3).T
            weights = bm25.idf(len(documents), [df[word] for word in words])
            lexical_scores = bm25.scores(weights, Postings(row, term, tf.astype(float)), length, float(length.mean()))
            cosine = np.clip(memories @ questions[number], 0, 1).astype(float)
            yield ScoredQuestion(conversation, number, lexical_scores, cosine, session, position)


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
