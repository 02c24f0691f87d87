"""Weights of a query's word pieces, and its word matches."""

from __future__ import annotations

import numpy as np
import pytest

from somabrain_service.domain.analyzer import latest_analyzer
from somabrain_service.domain.ranking.late_interaction import STOP_WORD_WEIGHT
from somabrain_service.domain.ranking.query_words import PieceTexts, query_words, word_matches
from somabrain_service.domain.recall import WordMatch
from somabrain_service.domain.token_vectors import QueryTokens


def tokens(*spans: tuple[int, int]) -> QueryTokens:
    """Word pieces at these places of a query."""
    count = len(spans)
    return QueryTokens(np.zeros((count, 4), np.int8), np.ones(count), np.array(spans, np.int32))


def test_word_piece_has_weight_of_its_term() -> None:
    """Both pieces of a word have the idf of its term; stop words and signs have the weight of a stop word."""
    query = "Where did Ada's beekeeping begin?"
    spans = [(0, 5), (6, 9), (10, 13), (13, 14), (14, 15), (16, 19), (19, 26), (27, 32), (32, 33)]
    english = latest_analyzer("en")
    idf = {"ada": 3.0, "beekeep": 5.0, "begin": 1.5}
    assert set(english.terms(query)) == set(idf)
    words = query_words(english, query, tokens(*spans), idf)
    stop = STOP_WORD_WEIGHT
    assert words.weights.tolist() == [stop, stop, 3.0, 3.0, 3.0, 5.0, 5.0, 1.5, stop]
    assert {"ada", "ada's", "beekeeping"} <= words.words
    assert words.has_terms


@pytest.mark.parametrize("language", ["ja", "mul"])
def test_unspaced_character_has_weight_of_rarer_bigram(language: str) -> None:
    """Such text has pairs of characters as terms: each character has the weight of the rarer pair that it is in."""
    query, spans = "東京の天気 weather", [(0, 1), (1, 2), (2, 3), (3, 5), (6, 13)]
    idf = {"東京": 2.0, "京の": 1.0, "天気": 3.0, "weather": 4.0}
    words = query_words(latest_analyzer(language), query, tokens(*spans), idf)
    assert words.weights.tolist() == [2.0, 2.0, 1.0, 3.0, 4.0]


def test_word_spans_of_unspaced_script_are_characters() -> None:
    """A match shows single characters, and whole words of scripts with spaces in the same text."""
    assert latest_analyzer("zh").word_spans("修好了 GPT4灯塔") == [(0, 1), (1, 2), (2, 3), (4, 8), (8, 9), (9, 10)]
    assert latest_analyzer("en").word_spans("don't 灯塔") == [(0, 5), (6, 8)]


def test_word_matches_pair_query_and_memory_words() -> None:
    """The best match of a word's pieces counts, and words are shown whole."""
    query = PieceTexts("Ada's beekeeping", [(0, 3), (6, 9), (9, 16)], [(0, 5), (6, 16)])
    memory = PieceTexts("Lovelace kept hives", [(0, 4), (4, 8), (9, 13), (14, 19)], [(0, 8), (9, 13), (14, 19)])
    similarity = np.array([[0.2, 0.6, 0.1, 0.0], [0.0, 0.0, 0.3, 0.4], [0.0, 0.0, 0.0, 1.02]])
    assert word_matches(query, memory, similarity) == (
        WordMatch("Ada's", "Lovelace", 0.6),
        WordMatch("beekeeping", "hives", 1.0),
    )
