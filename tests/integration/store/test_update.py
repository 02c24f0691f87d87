"""A changed memory is found in its new state, counted and in the feed; its former state is kept as a revision."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import psycopg
import pytest

from common.errors import Aborted, NotFound
from somabrain_service.domain.memory import MemoryDraft, Vector
from somabrain_service.encoders.minilm import DIMENSIONS
from somabrain_service.store.records import MemoryUpdate
from tests.integration.store.conftest import Brain
from tests.integration.store.tables import counted_exactly
from tests.support.clones import Clone


def axis(number: int) -> Vector:
    return Vector.of(tuple(float(i == number) for i in range(DIMENSIONS)))


async def test_updated_text_gets_new_terms_and_vector(brain: Brain, database: Clone) -> None:
    await brain.remember("The mill grinds corn.")
    stored = (await brain.remember("The bees dance at noon.")).memory
    await brain.update(stored, text="A ship sails to Ghent.")
    counted_exactly(database)
    with psycopg.connect(database.owner_dsn) as owner:
        terms = {row[0] for row in owner.execute("SELECT term FROM terms")}
    assert "bee" not in terms
    assert {"ship", "sail", "ghent", "mill"} <= terms
    (hit, *_) = (await brain.recall("boat voyage")).hits
    assert (hit.memory.name, hit.breakdown.lexical) == (stored.name, 0)
    assert hit.breakdown.dense > 0.3


async def test_caller_vector_changes_with_text_and_survives_other_updates(brain: Brain) -> None:
    stored = (await brain.remember("first", vector=axis(0))).memory
    changed = (await brain.update(stored, text="second", vector=axis(1))).memory
    await brain.update(changed, subject="ann", labels={"k": "v"})
    await brain.remember("another", vector=axis(2))
    dense = [
        {hit.memory.text: hit.breakdown.dense for hit in (await brain.recall(vector=axis(i))).hits} for i in range(2)
    ]
    assert dense == [{"second": 0.0, "another": 0.0}, {"second": 1.0, "another": 0.0}]


async def test_update_is_one_change_and_one_version(brain: Brain, database: Clone) -> None:
    stored = (await brain.remember("Bees dance.")).memory
    token = (await brain.update(stored, text="Bees sing.", labels={"k": "v"}, session="s")).consistency_token
    assert (await brain.recall("sing", consistency_token=token)).hits[0].memory.revision == 2
    with psycopg.connect(database.owner_dsn) as owner:
        feed = owner.execute("SELECT version, ordinal, type, memory, revision FROM changes ORDER BY version").fetchall()
        assert owner.execute("SELECT version FROM namespaces").fetchone() == (2,)
    memory = stored.name.memory
    assert feed == [(1, 0, 1, memory, 1), (2, 0, 2, memory, 2)]


async def test_concurrent_updates_of_different_fields_are_all_applied(brain: Brain, database: Clone) -> None:
    """Concurrent updates of different fields of one memory are all applied: none undoes another."""
    stored = (await brain.remember("bees", session="s")).memory
    await asyncio.gather(
        brain.update(stored, text="bees and wasps"),
        brain.update(stored, labels={"k": "v"}),
        brain.update(stored, subject="ann"),
        brain.update(stored, session="t"),
    )
    (now,) = await brain.list_all()
    assert (now.text, now.labels, now.subject, now.session) == ("bees and wasps", {"k": "v"}, "ann", "t")
    assert now.revision == 5
    with psycopg.connect(database.owner_dsn) as owner:
        assert owner.execute("SELECT array_agg(revision ORDER BY revision) FROM memory_revisions").fetchone() == (
            [1, 2, 3, 4],
        )
    counted_exactly(database)


async def test_one_of_concurrent_updates_with_same_etag_succeeds(brain: Brain) -> None:
    stored = (await brain.remember("bees")).memory
    ends = await asyncio.gather(
        *(brain.update(stored, subject=str(i), etag=stored.etag) for i in range(4)), return_exceptions=True
    )
    assert sorted(type(end).__name__ for end in ends) == ["Aborted", "Aborted", "Aborted", "RememberResult"]


async def test_concurrent_repeated_update_is_applied_once(brain: Brain) -> None:
    stored = (await brain.remember("bees")).memory
    ends = await asyncio.gather(*(brain.update(stored, subject="ann", request_id="u") for _ in range(5)))
    assert {end.memory.revision for end in ends} == {2}
    await brain.forget(stored.name)
    with pytest.raises(NotFound):
        await brain.update(stored, subject="ann", request_id="u")


async def test_concurrent_moves_into_a_session_get_distinct_positions(brain: Brain) -> None:
    memories = [(await brain.remember(f"bee {i}")).memory for i in range(6)]
    moved = await asyncio.gather(
        *(brain.update(memory, session="s") for memory in memories),
        *(brain.remember("new", session="s") for _ in range(6)),
    )
    assert sorted(end.memory.session_position or 0 for end in moved) == list(range(12))


async def test_expired_memory_cannot_be_updated(brain: Brain) -> None:
    stored = (await brain.remember("bees", ttl=timedelta(milliseconds=30))).memory
    await asyncio.sleep(0.05)
    with pytest.raises(NotFound):
        await brain.update(stored, ttl=timedelta(days=1))


async def test_namespace_change_during_encoding_is_detected(brain: Brain, database: Clone) -> None:
    stored = (await brain.remember("bees")).memory
    namespace = await brain.services.store.namespace(brain.tenant, brain.parent)
    with psycopg.connect(database.owner_dsn) as owner:
        owner.execute("UPDATE namespaces SET revision = revision + 1")
    update = MemoryUpdate(
        before=stored,
        draft=MemoryDraft("stale"),
        event_time=stored.event_time,
        update_time=stored.update_time,
        expire_time=None,
        salience=0.5,
        new_text=None,
    )
    with pytest.raises(Aborted, match="settings were changed"):
        await brain.services.store.update_memory(brain.tenant, namespace, update, None)
    assert await brain.list_all() == [stored]
