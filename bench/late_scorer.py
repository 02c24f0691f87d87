"""The formula of late interaction with constants that can be varied, over a shortlist or over all memories.

See `somabrain_service.domain.ranking.late_interaction`, whose constants are the defaults; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.ablation import LANGUAGE, Numbers, ScoredQuestion, ranked, score_questions
from bench.token_similarity import DEFAULT_BITS, EncodedConversation, Floats, bytes_per_piece, similarities, word_pieces
from somabrain_service.domain import analyzer
from somabrain_service.domain.ranking import late_interaction
from somabrain_service.domain.ranking.contiguity import contiguity
from somabrain_service.domain.ranking.late_interaction import (
    MAX_TOKEN_BYTES,
    SHORTLIST_SIZE,
    above_mean,
    speaker_factors,
)
from somabrain_service.domain.ranking.query_words import query_words
from somabrain_service.domain.token_vectors import query_tokens
from somabrain_service.domain.utterance import question_share, speaker

FLOAT_BITS = 32


@dataclass(frozen=True, slots=True)
class Constants:
    """Constants of the formula. `idf` False: all word pieces weigh the same."""

    meaning: float = late_interaction.MEANING_WEIGHT
    stop_word: float = late_interaction.STOP_WORD_WEIGHT
    before: float = late_interaction.BEFORE_SHARE
    after: float = late_interaction.AFTER_SHARE
    question: float = late_interaction.QUESTION_DISCOUNT
    speaker: float = late_interaction.SPEAKER_FACTOR
    exponent: float = 2.0
    idf: bool = True


@dataclass(frozen=True, eq=False)
class LateQuestion:
    """A question and the memories to rank again: their rows in the conversation, ascending, int64[n].

    `similarity`: float64[t, n]; `idf`: of the term that each word piece is part of, 0 for a stop word, float64[t];
    `questions`: share of questions among the sentences, float64[n]; `is_speaker`: whether it is by the one speaker that
    the question names, bool[n].
    """

    first: ScoredQuestion
    rows: Numbers
    similarity: Floats
    idf: Floats
    questions: Floats
    is_speaker: NDArray[np.bool_]

    def order(self, constants: Constants) -> Numbers:
        """Return the rows of the conversation, best first."""
        return self.rows[ranked(self.score(constants))]

    def recall(self, constants: Constants, k: int) -> float:
        """Return the share of the evidence among the first k."""
        return self.first.recall(self.order(constants)[:k])

    def score(self, constants: Constants) -> Floats:
        """Return the score of each memory, float64[n]."""
        weights = np.where(self.idf > 0, self.idf, constants.stop_word) if constants.idf else np.ones_like(self.idf)
        session, position = self.first.session[self.rows], self.first.position[self.rows]
        adjacent = (np.diff(session) == 0) & (np.diff(position) == 1)
        own = self.similarity**constants.exponent
        close = own.copy()
        close[:, 1:] = np.maximum(close[:, 1:], np.where(adjacent, constants.before * own[:, :-1], 0.0))
        close[:, :-1] = np.maximum(close[:, :-1], np.where(adjacent, constants.after * own[:, 1:], 0.0))
        mean = weights @ close / max(float(weights.sum()), 1e-9)
        meaning = above_mean(mean, np.ones(len(mean), np.bool_))
        weight = constants.meaning if self.first.idf else 1.0
        relevance = weight * meaning + (1 - weight) * self.first.relative[self.rows]
        boost = contiguity(relevance, session, position)
        priors = (1 - constants.question * self.questions) * np.where(self.is_speaker, constants.speaker, 1.0)
        return np.asarray((relevance + boost) * priors)


@dataclass(frozen=True, slots=True)
class Cut:
    """Bounds of a shortlist, of memories and of bytes of token vectors; None: no bound."""

    memories: int | None = SHORTLIST_SIZE
    bytes: int | None = MAX_TOKEN_BYTES

    def rows(self, ranking: Numbers, sizes: Numbers) -> Numbers:
        """Return the first rows of a ranking, ascending. `sizes`: bytes of each row of the conversation."""
        best = ranking[: self.memories]
        if self.bytes is not None:
            best = best[np.cumsum(sizes[best]) <= self.bytes]
        return np.sort(best)


def late_questions(
    conversations: Sequence[EncodedConversation], cuts: Sequence[Cut] = (Cut(),), bits: int | None = DEFAULT_BITS
) -> list[list[list[LateQuestion]]]:
    """Return, for each cut, the questions of each conversation, with the memories that are ranked again.

    `bits` None: vectors as the network makes them, of 32 bits.
    """
    of_conversations = [_of_conversation(one, cuts, bits) for one in conversations]
    return [[of_conversation[number] for of_conversation in of_conversations] for number in range(len(cuts))]


def _of_conversation(encoded: EncodedConversation, cuts: Sequence[Cut], bits: int | None) -> list[list[LateQuestion]]:
    sizes = encoded.pieces * bytes_per_piece(len(encoded.turns[0].vector), bits or FLOAT_BITS)
    texts = [turn.text for turn in encoded.conversation.turns]
    shares = np.array([question_share(text) for text in texts])
    speakers = [speaker(text) for text in texts]
    result: list[list[LateQuestion]] = [[] for _ in cuts]
    first = score_questions([encoded])
    for one, output, similarity in zip(first, encoded.questions, similarities(encoded, bits), strict=True):
        pieces = word_pieces(output)
        tokens = query_tokens(pieces.vectors, pieces.spans)
        query = query_words(analyzer.latest_analyzer(LANGUAGE), one.question.text, tokens, one.idf)
        # No idf equals the weight of a stop word: it is the logarithm of a fraction.
        idf = np.where(query.weights == late_interaction.STOP_WORD_WEIGHT, 0.0, query.weights)
        for questions, cut in zip(result, cuts, strict=True):
            rows = cut.rows(one.first_ranking, sizes)
            is_speaker = speaker_factors([speakers[row] for row in rows], query.words) > 1
            questions.append(LateQuestion(one, rows, similarity[:, rows], idf, shares[rows], is_speaker))
    return result
