"""Words of a query: what each of its word pieces weighs, and which words of a memory met them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from somabrain_service.domain.analyzer import Analyzer, Span
from somabrain_service.domain.ranking.bm25 import Floats
from somabrain_service.domain.ranking.late_interaction import STOP_WORD_WEIGHT, QueryWords
from somabrain_service.domain.recall import WordMatch
from somabrain_service.domain.token_vectors import QueryTokens


def query_words(analyzer: Analyzer, query: str, tokens: QueryTokens, idf: Mapping[str, float]) -> QueryWords:
    """Return the weight of each word piece: the idf of its word's rarest term, by `idf` of all terms of the query.

    In scripts without spaces that is the rarer of the two pairs of characters that a character is in.
    A piece without a term, as of a stop word, weighs STOP_WORD_WEIGHT.
    """
    in_context = analyzer.words_in_context(query)
    spans = [span for span, _ in in_context]
    words = [query[first:end] for first, end in spans]
    weights = [
        max((idf[term] for term in analyzer.terms(context) if term in idf), default=0.0) for _, context in in_context
    ]
    of_piece = [_word_at(spans, int(first)) for first, _ in tokens.spans]
    return QueryWords(
        weights=np.array([(0.0 if n is None else weights[n]) or STOP_WORD_WEIGHT for n in of_piece]),
        words=frozenset(part for word in words for part in _forms(word.lower().replace("’", "'"))),
        has_terms=bool(idf),
    )


def _forms(word: str) -> tuple[str, str]:
    """Return a word, and what is before its apostrophe, as in a genitive."""
    return word, word.partition("'")[0]


@dataclass(frozen=True, slots=True)
class PieceTexts:
    """A text with the first and the end character of each of its word pieces, and of each of its words."""

    text: str
    pieces: Sequence[Span]
    words: Sequence[Span]

    def word(self, piece: int) -> str:
        """Return the word that a piece is part of, or the piece itself."""
        first, end = self.pieces[piece]
        number = _word_at(self.words, first)
        if number is not None:
            first, end = self.words[number]
        return self.text[first:end]


def word_matches(query: PieceTexts, memory: PieceTexts, similarity: Floats) -> tuple[WordMatch, ...]:
    """Return, for each word of the query, the word of the memory that is most similar to it, in the query's order.

    Args:
        query: the query.
        memory: the memory's text.
        similarity: float64[t, n], of each piece of the query to each of the memory, n > 0.
    """
    best: dict[int, WordMatch] = {}
    for piece, row in enumerate(similarity[:, : len(memory.pieces)]):
        number = _word_at(query.words, query.pieces[piece][0])
        if number is None:  # a sign
            continue
        nearest = int(row.argmax())
        value = round(float(min(max(row[nearest], 0.0), 1.0)), 6)
        match = WordMatch(query.word(piece), memory.word(nearest), value)
        if number not in best or value > best[number].similarity:
            best[number] = match
    return tuple(best.values())


def _word_at(spans: Sequence[Span], character: int) -> int | None:
    """Return the number of the span that contains a character; None: no span does."""
    number = bisect_right(spans, (character, float("inf"))) - 1
    return number if number >= 0 and spans[number][0] <= character < spans[number][1] else None
