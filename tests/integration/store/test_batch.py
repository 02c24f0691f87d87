"""A batch is one transaction with exact counts, also beside single writes and other batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import psycopg
from numpy.typing import NDArray

from somabrain_service.commands.batch_remember_memories import RememberItem
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.memory import MemoryDraft, Vector
from somabrain_service.encoders.minilm import DIMENSIONS, ENCODER_ID
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.encoders.protocols import PooledEncoder
from tests.integration.store.conftest import Brain
from tests.integration.store.tables import counted_exactly
from tests.support.clones import Clone


class Counting(PooledEncoder):
    """The real encoder, which records how many texts each call has."""

    encoder_id = ENCODER_ID
    dimensions = DIMENSIONS

    def __init__(self, encoder: OnnxEncoder) -> None:
        self._encoder = encoder
        self.batch_sizes: list[int] = []

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batch_sizes.append(len(texts))
        return await self._encoder.encode(texts)

    async def close(self) -> None:
        """Do nothing: the owner of the encoder closes it."""


async def test_batch_recall_scores_equal_those_of_single_writes(brain: Brain) -> None:
    """Recall gives the same texts and scores as for single writes, by terms, encoded vectors and callers' vectors."""
    axis = Vector.of(tuple(float(i == 3) for i in range(DIMENSIONS)))
    items = [
        RememberItem(MemoryDraft("Bees dance at noon.", session="s", labels={"k": "v", "l": "w"})),
        RememberItem(MemoryDraft("Wasps do not.", session="s", subject="ann"), axis),
        RememberItem(MemoryDraft("the of and")),
        RememberItem(MemoryDraft("Grüße an die Bienen 🐝", pinned=True, salience=0.9)),
    ]
    single = brain.at("single")
    await single.create()
    for item in items:
        await single.remember(
            item.draft.text, vector=item.vector, session=item.draft.session, salience=item.draft.salience
        )
    await brain.remember_all(*items)
    for question in ({"query": "bees at noon"}, {"vector": axis}, {"query": "wasps", "vector": axis}):
        ours, theirs = await brain.recall(**question), await single.recall(**question)
        assert [(hit.memory.text, hit.score) for hit in ours.hits] == [
            (hit.memory.text, hit.score) for hit in theirs.hits
        ]


async def test_batch_uses_one_encoder_call_one_version_and_one_change_per_item(
    brain: Brain, services: AppContext, minilm: OnnxEncoder, database: Clone
) -> None:
    counting = Counting(minilm)
    counting_brain = Brain(AppContext(services.store, {ENCODER_ID: counting}, ENCODER_ID), brain.tenant, brain.parent)
    vector = Vector.of((1.0,) * DIMENSIONS)
    memories = await counting_brain.remember_all(
        *(RememberItem(MemoryDraft(f"bee {i}"), vector if i % 2 else None) for i in range(70))
    )
    assert counting.batch_sizes == [35]
    with psycopg.connect(database.owner_dsn) as owner:
        feed = owner.execute("SELECT version, ordinal, type, memory, revision FROM changes ORDER BY ordinal").fetchall()
    assert feed == [(1, i, 1, memory.name.memory, 1) for i, memory in enumerate(memories)]
    counted_exactly(database)


async def test_concurrent_batches_writes_and_deletes_keep_counts_exact(brain: Brain, database: Clone) -> None:
    """Concurrent batches, writes and deletions leave exact counts and give each memory its own session position.

    They share words and two sessions, which they use in opposite orders.
    """

    async def batches(number: int) -> list[int]:
        sessions = ["s", "t"] if number % 2 else ["t", "s"]
        memories = await brain.remember_all(
            *(RememberItem(MemoryDraft(f"batch {number} bee {i % 7}", session=sessions[i % 2])) for i in range(40))
        )
        await brain.forget(memories[0].name)
        return [len(memories)]

    async def singles() -> list[int]:
        for i in range(10):
            await brain.remember(f"single bee {i}", session="s")
        return [10]

    await asyncio.gather(*(batches(number) for number in range(4)), singles())
    listed = await brain.list_all()
    assert len(listed) == 4 * 39 + 10
    assert len({(memory.session, memory.session_position) for memory in listed}) == len(listed)
    counted_exactly(database)
    with psycopg.connect(database.owner_dsn) as owner:
        versions = [row[0] for row in owner.execute("SELECT DISTINCT version FROM changes ORDER BY version")]
    assert versions == list(range(1, 4 * 2 + 10 + 1))


async def test_concurrent_identical_batches_are_stored_once(brain: Brain) -> None:
    items = [RememberItem(MemoryDraft(f"bee {i}", session="s"), None, f"r{i}") for i in range(20)]
    first, *others = await asyncio.gather(
        *(brain.remember_all(*(items if n % 2 else reversed(items))) for n in range(4))
    )
    names = {memory.name for memory in first}
    assert all({memory.name for memory in other} == names for other in others)
    assert len(await brain.list_all()) == 20
