"""Token vectors: stored and deleted with memories, created later where they are missing, and used by Recall."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest

from common.config.settings import DatabaseSettings
from common.errors import InvalidArgument, ResourceExhausted
from somabrain_service.background.reencode import Reencode
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.memory import Vector
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.domain.quota import StorageUsage
from somabrain_service.domain.recall import DegradedReason, RecallResult
from somabrain_service.domain.token_vectors import bytes_per_piece
from somabrain_service.encoders.minilm import DIMENSIONS, ENCODER_ID
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.flags.registry import FixedFlags, Flags
from somabrain_service.store.maintenance import MaintenanceStore
from somabrain_service.store.open import open_store
from somabrain_service.store.postgres.storage_quota import StorageQuota
from tests.integration.store.conftest import Brain, wait_until_loaded
from tests.integration.store.tables import counted_exactly, dump
from tests.support.clones import Clone

TALK = (
    ("s1", "Ada: The bees cluster in the hive all winter."),
    ("s1", "Ben: Do they sleep then?"),
    ("s1", "Ada: No, they shiver to keep their queen warm."),
    ("s2", "Ben: My sister bought a sailing boat in Lisbon."),
    ("s2", "Ada: How long is it? Can I come along?"),
    ("s2", "Ben: Nine metres, and you are welcome on board."),
)
QUESTION = "How do insects stay warm in the cold months?"


async def talk(brain: Brain, *, vectors: bool = True) -> None:
    """Store the conversation; without `vectors` each memory has a caller's vector, and so no token vectors."""
    for number, (session, text) in enumerate(TALK):
        given = None if vectors else Vector.of(tuple(float(i == number) for i in range(DIMENSIONS)))
        await brain.remember(text, session=session, vector=given, event_time=datetime(2024, 1, 1 + number, tzinfo=UTC))


def switched(brain: Brain, **flags: bool) -> Brain:
    return replace(brain, services=replace(brain.services, flags=FixedFlags(Flags.model_validate(flags))))


def listed(answer: RecallResult) -> list[tuple[str, float]]:
    return [(hit.memory.text, hit.score) for hit in answer.hits]


def token_rows(database: Clone) -> list[tuple[int, int, bool]]:
    with psycopg.connect(database.owner_dsn) as owner:
        return owner.execute(
            "SELECT memory, size_bytes, truncated FROM memory_token_vectors WHERE size_bytes = octet_length(data)"
        ).fetchall()


async def test_token_vectors_recall_paraphrases_with_breakdown(brain: Brain) -> None:
    """A question without a word of the answer finds it, and the breakdown shows each number of the score."""
    await talk(brain)
    answer = await brain.recall(QUESTION, explain=True)
    assert answer.degraded == ()
    first = answer.hits[0]
    assert first.memory.text == "Ada: No, they shiver to keep their queen warm."
    part = first.breakdown
    expected = (2 / 3 * part.meaning + part.lexical_relative / 3 + part.contiguity) * part.question * part.speaker
    assert first.score == pytest.approx(expected, abs=3e-6)
    assert answer.best_match == max(hit.breakdown.match for hit in answer.hits)
    matches = {match.query_word: match.memory_word for match in first.matches}
    assert list(matches) == ["How", "do", "insects", "stay", "warm", "in", "the", "cold", "months"]
    assert matches["warm"] == "warm"
    assert all(0 <= match.similarity <= 1 for match in first.matches)


async def test_min_match_separates_answered_from_unanswered_queries(brain: Brain) -> None:
    """min_match separates answered questions from others; min_score has its former meaning."""
    await talk(brain)
    known, unknown = await brain.recall(QUESTION), await brain.recall("What is the capital of Mongolia?")
    assert known.best_match is not None
    assert unknown.best_match is not None
    assert known.best_match > unknown.best_match
    between = (known.best_match + unknown.best_match) / 2
    assert (await brain.recall(QUESTION, min_match=between)).hits == known.hits
    refused = await brain.recall("What is the capital of Mongolia?", min_match=between)
    assert (refused.hits, refused.best_match) == ((), unknown.best_match)
    # Both must hold: no word but `warm` is in a memory, so the lexical score is low.
    assert known.best_lexical < 0.5
    assert (await brain.recall(QUESTION, min_match=between, min_score=0.5)).hits == ()
    assert (await brain.recall(QUESTION, min_match=between, min_score=0.01)).hits == known.hits
    with pytest.raises(InvalidArgument, match=r"min_match.*requires `query`"):
        await brain.recall(vector=Vector.of((1.0,) * DIMENSIONS), min_match=0.5)


async def test_min_match_is_reported_and_ignored_without_token_vectors(brain: Brain, words: Brain) -> None:
    """A namespace without an encoder, and one with the flag off, have no best_match."""
    await talk(brain)
    await talk(words)
    for asked in (words, switched(brain, late_interaction=False)):
        answer = await asked.recall("bees in winter", min_match=0.99, explain=True)
        assert (answer.best_match, answer.degraded) == (None, (DegradedReason.TOKEN_VECTORS_MISSING,))
        assert answer.hits
        assert all(hit.matches == () and hit.breakdown.match == 0 for hit in answer.hits)
        assert (await asked.recall("bees in winter")).degraded == ()


async def test_speaker_and_question_weights_apply_to_conversation_only(brain: Brain) -> None:
    """Ben is named, so his statements count more; questions count less; documents have neither weight."""
    await talk(brain)
    parts = {hit.memory.text: hit.breakdown for hit in (await brain.recall("What did Ben's sister buy?")).hits}
    assert {text: part.speaker for text, part in parts.items()} == {
        text: 1.2 if text.startswith("Ben:") else 1.0 for _, text in TALK
    }
    assert (parts[TALK[1][1]].question, parts[TALK[4][1]].question, parts[TALK[0][1]].question) == (0.6, 0.6, 1.0)
    without = await switched(brain, priors=False).recall("What did Ben's sister buy?")
    assert {(hit.breakdown.question, hit.breakdown.speaker) for hit in without.hits} == {(1.0, 1.0)}
    await brain.change(content="documents")
    await wait_until_loaded(brain.services, brain.tenant, brain.parent)
    assert listed(await brain.recall("What did Ben's sister buy?")) == listed(without)
    with pytest.raises(InvalidArgument, match=r"settings\.content.*conversation, facts, documents"):
        await brain.change(content="poems")


async def test_subject_is_the_speaker_where_the_text_names_none(brain: Brain) -> None:
    """A label before the first colon goes before the subject; a changed subject counts at once."""
    memory = (await brain.remember("Bees dance.", subject="Ada")).memory
    await brain.remember("Ben: Bees sing.", subject="Ada")
    parts = {hit.memory.text: hit.breakdown.speaker for hit in (await brain.recall("What did Ada say?")).hits}
    assert parts == {"Bees dance.": 1.2, "Ben: Bees sing.": 1.0}
    await brain.update(memory, subject="Eve")
    parts = {hit.memory.text: hit.breakdown.speaker for hit in (await brain.recall("What did Eve say?")).hits}
    assert parts == {"Bees dance.": 1.2, "Ben: Bees sing.": 1.0}


async def test_long_text_is_compared_by_its_first_word_pieces(brain: Brain, database: Clone) -> None:
    """The breakdown reports that a text was truncated, and its row has as many bytes as pieces have vectors."""
    await brain.remember("bee " * 400)
    await brain.remember("bee")
    parts = {hit.memory.text[:5]: hit.breakdown.truncated for hit in (await brain.recall("bee")).hits}
    assert parts == {"bee b": True, "bee": False}
    sizes = sorted((size, truncated) for _, size, truncated in token_rows(database))
    # The tokenizer's 256 tokens include the two marks around a text.
    assert sizes == [(bytes_per_piece(DIMENSIONS), False), (254 * bytes_per_piece(DIMENSIONS), True)]


async def test_token_vectors_are_deleted_with_their_memory(brain: Brain, database: Clone) -> None:
    """Forgotten, updated, expired or reencoded: no row is left, and every count is exact."""
    first = (await brain.remember("The secret is in the hive.")).memory
    second = (await brain.remember("Bees dance.")).memory
    await brain.remember("Gone soon.", ttl=timedelta(milliseconds=10))
    counted_exactly(database)
    before = {memory: size for memory, size, _ in token_rows(database)}
    await brain.update(second, text="Bees dance and sing.")
    after = {memory: size for memory, size, _ in token_rows(database)}
    assert after[second.name.memory] > before[second.name.memory]
    counted_exactly(database)
    with psycopg.connect(database.owner_dsn) as owner:
        row = owner.execute(
            "SELECT CAST(data AS text) FROM memory_token_vectors WHERE memory = %s", [first.name.memory]
        ).fetchone()
    assert row is not None
    assert row[0] in dump(database)
    await brain.forget(first.name)
    assert row[0] not in dump(database)
    counted_exactly(database)
    await brain.change(encoder="lexical")
    assert token_rows(database) == []
    counted_exactly(database)


async def test_recall_improves_as_job_backfills_token_vectors(
    brain: Brain, maintenance: MaintenanceStore, database: Clone
) -> None:
    """Without token vectors the answer is the former one, and reports it; statistics show the progress to completion.

    Rows of the former version are simulated by removing the data that it did not write.
    """
    await talk(brain)
    expected = await brain.recall(QUESTION)
    former = await switched(brain, late_interaction=False).recall(QUESTION)
    with psycopg.connect(database.owner_dsn) as owner:
        owner.execute("DELETE FROM memory_token_vectors")
        owner.execute("UPDATE usage SET token_texts = 0, token_bytes = 0")
        owner.execute("UPDATE namespaces SET version = version + 1")
    await wait_until_loaded(brain.services, brain.tenant, brain.parent)
    answer = await brain.recall(QUESTION)
    assert (answer.degraded, answer.best_match) == ((DegradedReason.TOKEN_VECTORS_MISSING,), None)
    assert listed(answer) == listed(former)
    statistics = await brain.statistics()
    assert (statistics.memories, statistics.token_texts, statistics.unencoded) == (6, 0, 0)
    job = Reencode(brain.services.encoders, brain.services.clock, 1.0)
    assert (await job.run_once(maintenance)).rows == 6
    statistics = await brain.statistics()
    assert (statistics.token_texts, statistics.token_bytes) == (6, sum(size for _, size, _ in token_rows(database)))
    counted_exactly(database)
    assert not (await job.run_once(maintenance)).has_more, "there is nothing left to do"
    again = await brain.recall(QUESTION)
    assert (listed(again), again.degraded, again.best_match) == (listed(expected), (), expected.best_match)


async def test_memory_with_caller_vector_gets_no_token_vectors(
    brain: Brain, maintenance: MaintenanceStore, database: Clone
) -> None:
    """The encoder is not run for it, then or later; speaker and question weights apply nevertheless."""
    await talk(brain, vectors=False)
    alone = await brain.recall(QUESTION)
    assert (alone.degraded, alone.best_match) == ((), None)
    await brain.remember("Wasps do not make honey.")
    answer = await brain.recall(QUESTION)
    assert answer.degraded == ()
    assert answer.best_match == max(hit.breakdown.match for hit in answer.hits) > 0
    assert {hit.breakdown.match for hit in answer.hits if not hit.memory.text.startswith("Wasps")} == {0.0}
    assert {hit.memory.text: hit.breakdown.question for hit in answer.hits}[TALK[1][1]] == 0.6
    assert not (await Reencode(brain.services.encoders, brain.services.clock, 1.0).run_once(maintenance)).has_more
    counted_exactly(database)


async def test_text_without_word_pieces_is_complete(brain: Brain, maintenance: MaintenanceStore) -> None:
    """Control characters alone have no word pieces: the job does not come back to such a text forever."""
    await brain.remember("\u200b")
    await brain.remember("Bees dance.")
    assert (await brain.statistics()).token_texts == 2
    assert not (await Reencode(brain.services.encoders, brain.services.clock, 1.0).run_once(maintenance)).has_more
    assert (await brain.recall("bees")).degraded == ()


async def test_query_of_stop_words_is_compared_by_word_pieces(brain: Brain) -> None:
    """Its words have no terms, but word pieces: best_match and min_match apply, min_score does not."""
    await talk(brain)
    answer = await brain.recall("who was it with", min_score=0.9)
    assert answer.degraded == (DegradedReason.NO_TERMS,)
    assert answer.best_match is not None
    assert answer.hits
    assert (await brain.recall("who was it with", min_match=1.0)).hits == ()


async def test_token_vector_bytes_count_for_the_quota(database: Clone, minilm: OnnxEncoder) -> None:
    """A write that would exceed token_bytes is refused and names the quota; forgetting frees bytes again."""
    limit = StorageUsage(token_bytes=4 * bytes_per_piece(DIMENSIONS))
    quota = StorageQuota(lambda _: limit, writers=16)
    async with open_store(database.app_dsn, DatabaseSettings(), quota) as store:
        services = AppContext(store, {ENCODER_ID: minilm}, ENCODER_ID, flags=FixedFlags(Flags(token_bytes=392)))
        brain = Brain(services, tenant_id("https://issuer.test", "a"), NamespaceName.of("notes"))
        await brain.create()
        first = (await brain.remember("Bees dance.")).memory
        statistics = await brain.statistics()
        assert (statistics.tenant_token_bytes, statistics.tenant_limit) == (3 * bytes_per_piece(DIMENSIONS), limit)
        with pytest.raises(ResourceExhausted, match=r"294; 294 more exceed the limit. .* limit token_bytes raised"):
            await brain.remember("Bees sing.")
        await brain.remember("Wasps", vector=Vector.of((1.0,) * DIMENSIONS))
        await brain.forget(first.name)
        await brain.remember("Bees sing.")
    counted_exactly(database)


async def test_scores_do_not_depend_on_earlier_reads(brain: Brain) -> None:
    """Alone, again and beside others the same question has the same answer to the last digit."""
    await talk(brain)
    one = listed(await brain.recall(QUESTION))
    assert one == listed(await brain.recall(QUESTION)) == listed(await brain.recall(QUESTION, top_k=6))
    assert listed(await brain.recall(QUESTION, top_k=2)) == one[:2]
    assert np.isfinite([score for _, score in one]).all()
