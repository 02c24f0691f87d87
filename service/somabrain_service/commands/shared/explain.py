"""Explanation of an answer: which words of the query met which words of each memory."""

from __future__ import annotations

from collections.abc import Sequence

from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.analyzer import get_analyzer
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.ranking.query_words import PieceTexts, word_matches
from somabrain_service.domain.recall import WordMatch
from somabrain_service.domain.token_vectors import QueryTokens, similarities
from somabrain_service.store.records import TokenRow


async def explain(
    context: AppContext,
    namespace: Namespace,
    encoder_id: str,
    query: str,
    tokens: QueryTokens,
    memories: Sequence[Memory],
    token_rows: Sequence[TokenRow],
) -> dict[MemoryId, tuple[WordMatch, ...]]:
    """Return the matches of each of the memories that has token vectors.

    Where the words of a memory are is found by splitting its text again, as it was split when it was encoded.
    """
    analyzer = get_analyzer(namespace.analyzer)
    data = {row.memory: row.data for row in token_rows if row.data}
    compared = [memory for memory in memories if memory.name.memory in data]
    spans = await context.encoder(encoder_id).spans([memory.indexed_text for memory in compared])
    pieces = [(int(first), int(end)) for first, end in tokens.spans]
    asked = PieceTexts(query, pieces, analyzer.word_spans(query))
    result = {}
    for memory, of_memory in zip(compared, spans, strict=True):
        text = PieceTexts(memory.indexed_text, of_memory, analyzer.word_spans(memory.indexed_text))
        similarity = similarities(tokens, data[memory.name.memory])
        result[memory.name.memory] = word_matches(asked, text, similarity)
    return result
