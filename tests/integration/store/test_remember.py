"""An acknowledged memory is stored once, and counted."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from common.config.settings import DatabaseSettings
from common.errors import Aborted, AlreadyExists, InvalidArgument, NotFound
from somabrain_service.commands.remember_memory import RememberResult
from somabrain_service.domain.memory import MemoryKind, Vector
from somabrain_service.encoders.minilm import DIMENSIONS, ENCODER_ID
from somabrain_service.store.open import open_store
from tests.integration.store.conftest import Brain
from tests.integration.store.tables import counted_exactly
from tests.support.clones import Clone


async def test_remembered_memory_is_recalled_exactly_as_given(brain: Brain) -> None:
    moment = datetime(2020, 2, 29, 12, 30, 0, 123456, UTC)
    text = "Grüße, 日本語 🎉 \t and a trailing space "
    stored = (
        await brain.remember(
            text,
            kind=MemoryKind.PROCEDURAL,
            session="s",
            session_position=7,
            subject="ada",
            labels={"k": "v", "leer": ""},
            event_time=moment,
            salience=0.75,
            expire_time=datetime(9999, 12, 31, tzinfo=UTC),
        )
    ).memory
    (hit,) = (await brain.recall("grüße")).hits
    assert hit.memory == stored
    assert (stored.text, stored.event_time, stored.session_position, stored.salience) == (text, moment, 7, 0.75)
    assert hit.memory.etag == stored.etag


async def test_read_with_consistency_token_is_not_stale(brain: Brain) -> None:
    result = await brain.remember("Bees dance.")
    answer = await brain.recall("bees", consistency_token=result.consistency_token)
    assert answer.consistency_token == result.consistency_token
    other = brain.at("other")
    await other.create()
    with pytest.raises(InvalidArgument, match="another namespace"):
        await other.recall("bees", consistency_token=result.consistency_token)


async def test_eight_writers_lose_nothing_and_versions_have_no_gaps(brain: Brain, database: Clone) -> None:
    """Eight concurrent writers lose nothing, and versions and session positions have no gaps.

    They share words and a session, so they contend for every lock.
    """

    async def writer(number: int) -> list[int]:
        positions = []
        for i in range(12):
            result = await brain.remember(f"Writer {number} saw bird {i} on the pond.", session="pond")
            positions.append(result.memory.session_position or 0)
        return positions

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(writer(number)) for number in range(8)]
    positions = [position for task in tasks for position in task.result()]
    assert sorted(positions) == list(range(96))
    assert all(task.result() == sorted(task.result()) for task in tasks)
    assert len({memory.text for memory in await brain.list_all()}) == 96
    with psycopg.connect(database.owner_dsn) as owner:
        changes = owner.execute("SELECT version, memory FROM changes ORDER BY version, ordinal").fetchall()
        assert len({memory for _, memory in changes}) == len(changes) == 96
        assert owner.execute("SELECT version FROM namespaces").fetchone() == (changes[-1][0],)
        assert sorted({version for version, _ in changes}) == list(range(1, changes[-1][0] + 1))
    counted_exactly(database)


async def test_repeated_request_returns_the_stored_memory(brain: Brain) -> None:
    first, *others = await asyncio.gather(*(brain.remember("Bees dance.", request_id="r") for _ in range(6)))
    assert {other.memory.name for other in others} == {first.memory.name}
    assert len(await brain.list_all()) == 1
    with pytest.raises(AlreadyExists, match="request_id"):
        await brain.remember("Bees do not dance.", request_id="r")
    with pytest.raises(AlreadyExists, match="request_id"):
        await brain.forget(first.memory.name, request_id="r")


async def test_repeated_request_of_forgotten_memory_is_not_found(brain: Brain) -> None:
    result = await brain.remember("Bees dance.", request_id="r")
    await brain.forget(result.memory.name)
    with pytest.raises(NotFound):
        await brain.remember("Bees dance.", request_id="r")
    assert await brain.list_all() == []


async def test_request_id_can_be_reused_after_a_day(brain: Brain, database: Clone) -> None:
    first = await brain.remember("Bees dance.", request_id="r")
    with psycopg.connect(database.owner_dsn) as owner:
        owner.execute("UPDATE idempotency_keys SET expire_time = %s", [datetime.now(UTC)])
    assert (await brain.remember("Bees sing.", request_id="r")).memory.name != first.memory.name


async def test_request_ids_are_separate_per_tenant(brain: Brain) -> None:
    other = brain.of("other")
    await other.create()
    mine, theirs = await brain.remember("a", request_id="r"), await other.remember("b", request_id="r")
    assert mine.memory.name != theirs.memory.name


async def test_taken_session_position_is_refused_and_unset_one_is_appended(brain: Brain) -> None:
    await brain.remember("first", session="s", session_position=41)
    with pytest.raises(AlreadyExists, match="session_position: 41"):
        await brain.remember("twice", session="s", session_position=41)
    assert (await brain.remember("next", session="s")).memory.session_position == 42
    assert (await brain.remember("elsewhere", session="t")).memory.session_position == 0
    assert (await brain.remember("nowhere")).memory.session_position is None


async def test_namespace_default_ttl_applies_unless_pinned(brain: Brain) -> None:
    short = brain.at("short")
    await short.create(default_ttl=timedelta(hours=1))
    stored = (await short.remember("soon gone")).memory
    assert stored.expire_time == stored.create_time + timedelta(hours=1)
    longer = (await short.remember("later gone", ttl=timedelta(hours=2))).memory
    assert longer.expire_time == longer.create_time + timedelta(hours=2)
    assert (await short.remember("stays", pinned=True)).memory.expire_time is None


async def test_memory_already_expired_is_refused(brain: Brain) -> None:
    with pytest.raises(InvalidArgument, match=r"memory\.expire_time"):
        await brain.remember("gone", expire_time=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidArgument, match=r"memory\.ttl"):
        await brain.remember("never", ttl=timedelta(days=999_999_999))


async def test_caller_vector_is_stored_and_recalled(brain: Brain) -> None:
    axis = Vector.of((3e38,) + (0.0,) * (DIMENSIONS - 1), ENCODER_ID)
    await brain.remember("by vector", vector=axis)
    answer = await brain.recall(vector=Vector.of((1e-38,) + (0.0,) * (DIMENSIONS - 1)))
    assert [(hit.memory.text, hit.breakdown.dense) for hit in answer.hits] == [("by vector", 1.0)]
    assert answer.best_lexical == 0


@pytest.mark.parametrize(
    ("vector", "field"),
    [
        (lambda: Vector.of((1.0, 2.0)), "vector.values"),
        (lambda: Vector.of((0.0,) * DIMENSIONS), "vector.values"),
        (lambda: Vector.of((math.nan,) * DIMENSIONS), "vector.values"),
        (lambda: Vector.of((1.0,) * DIMENSIONS, "another"), "vector.encoder_id"),
    ],
)
async def test_invalid_vector_is_refused_by_field(brain: Brain, vector: object, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await brain.remember("no", vector=vector())  # type: ignore[operator]
    assert caught.value.field == field


async def test_concurrent_writes_and_deletes_of_same_terms_keep_counts_exact(brain: Brain, database: Clone) -> None:
    """Counts stay exact while concurrent tasks add and remove the same terms."""

    async def remember_and_forget(number: int) -> None:
        for i in range(12):
            result = await brain.remember(f"swarm {i % 3} over hive {number % 2}", session="s" if i % 2 else "")
            if i % 4:
                await brain.forget(result.memory.name)

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(remember_and_forget(number))
    assert len(await brain.list_all()) == 24
    counted_exactly(database)


async def test_concurrent_forgets_of_one_memory_succeed_once(brain: Brain) -> None:
    result = await brain.remember("Bees dance.")
    ends = await asyncio.gather(*(brain.forget(result.memory.name) for _ in range(4)), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["NotFound", "NotFound", "NotFound", "str"]


async def test_namespace_changed_by_another_process_is_detected_before_writing(brain: Brain, database: Clone) -> None:
    await brain.remember("Bees dance.")
    await brain.recall("bees")
    for attempt in (brain.recall("bees"), brain.remember("Bees sing.")):
        with psycopg.connect(database.owner_dsn) as owner:
            owner.execute("UPDATE namespaces SET revision = revision + 1")
        with pytest.raises(Aborted, match="settings were changed"):
            await attempt
    assert len((await brain.recall("bees")).hits) == 1
    await brain.remember("Bees sing.")
    with psycopg.connect(database.owner_dsn) as owner:
        owner.execute("DELETE FROM namespaces")
    with pytest.raises(NotFound):
        await brain.remember("Bees hum.")
    with psycopg.connect(database.owner_dsn) as owner:
        assert owner.execute("SELECT count(*) FROM memories WHERE text = 'Bees hum.'").fetchone() == (0,)


async def test_group_commit_shares_a_version_and_reports_each_outcome(words: Brain) -> None:
    """Writes that wait for an earlier one share one transaction and one version, and each gets its own outcome."""
    stored = (await words.remember("The first.", session="s", request_id="again")).memory
    before = (await words.namespace()).version
    ends = await asyncio.gather(
        *(words.remember(f"Bees dance {i}.", session="s") for i in range(10)),
        words.remember("The first.", session="s", request_id="again"),
        words.remember("Another.", session="s", request_id="again"),
        words.remember("In a place that is taken.", session="s", session_position=0),
        words.remember("Twice.", request_id="twice"),
        words.remember("Twice.", request_id="twice"),
        return_exceptions=True,
    )
    fresh = [end.memory for end in ends[:10] if isinstance(end, RememberResult)]
    assert [memory.session_position for memory in fresh] == list(range(1, 11))
    again, another, taken, twice, also_twice = ends[10:]
    assert isinstance(again, RememberResult)
    assert again.memory == stored
    assert isinstance(another, AlreadyExists)
    assert isinstance(taken, AlreadyExists)
    assert isinstance(twice, RememberResult)
    assert isinstance(also_twice, RememberResult)
    assert twice.memory == also_twice.memory
    assert len(await words.list_all(page_size=1000)) == 12
    assert (await words.namespace()).version == before + 2


async def test_cancelled_caller_does_not_abort_writes_of_its_group(words: Brain) -> None:
    calls = [asyncio.create_task(words.remember(f"Bees dance {i}.")) for i in range(12)]
    await asyncio.sleep(0)
    for call in calls[::3]:
        call.cancel()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    acknowledged = {end.memory.text for end in ends if isinstance(end, RememberResult)}
    assert len(acknowledged) == 8
    assert acknowledged <= {memory.text for memory in await words.list_all(page_size=1000)}
    await words.remember("And one more.")


async def test_eight_writers_in_two_processes_lose_and_duplicate_nothing(words: Brain, database: Clone) -> None:
    async with open_store(database.app_dsn, DatabaseSettings()) as second:
        other = replace(words, services=replace(words.services, store=second))

        async def write(writer: int) -> None:
            for i in range(25):
                await (words if writer % 2 else other).remember(f"{writer} wrote {i}.", session=f"s{i % 3}")

        await asyncio.gather(*(write(writer) for writer in range(8)))
    memories = await words.list_all(page_size=1000)
    assert sorted(memory.text for memory in memories) == sorted(f"{w} wrote {i}." for w in range(8) for i in range(25))
    for session in range(3):
        positions = [memory.session_position for memory in memories if memory.session == f"s{session}"]
        assert sorted(position for position in positions if position is not None) == list(range(len(positions)))


async def test_concurrent_request_in_two_processes_is_stored_once(words: Brain, database: Clone) -> None:
    async with open_store(database.app_dsn, DatabaseSettings()) as second:
        second_brain = replace(words, services=replace(words.services, store=second))
        for i in range(20):
            calls = (brain.remember(f"Bee {i}.", request_id=f"r{i}") for brain in (words, second_brain))
            one, other = await asyncio.gather(*calls)
            assert one.memory == other.memory
    assert len(await words.list_all(page_size=1000)) == 20
