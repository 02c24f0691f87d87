"""After a change of encoder or language, memories are reindexed in the background as if it had always been set."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from common.config.settings import DatabaseSettings, EmbeddingsEndpoint
from common.errors import Aborted, InvalidArgument, SomaBrainError
from somabrain_service.background.job import Job
from somabrain_service.background.reanalyze import Reanalyze
from somabrain_service.background.reencode import Reencode
from somabrain_service.background.runner import JobRunner
from somabrain_service.commands.batch_remember_memories import RememberItem
from somabrain_service.commands.export_memories import export_memories
from somabrain_service.commands.update_namespace import update_namespace
from somabrain_service.commands.watch_memories import watch_memories
from somabrain_service.domain import limits
from somabrain_service.domain.analyzer import get_analyzer
from somabrain_service.domain.changes import ChangeType, ExportQuery, WatchQuery
from somabrain_service.domain.memory import MemoryDraft
from somabrain_service.domain.namespace import NamespaceChange, NamespaceDraft, NamespaceSettings
from somabrain_service.domain.recall import DegradedReason
from somabrain_service.encoders.endpoint import open_endpoint
from somabrain_service.encoders.minilm import DIMENSIONS, ENCODER_ID
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.encoders.protocols import Encoder, EncoderUnavailable, PooledEncoder
from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import MaintenanceStore, Shard
from somabrain_service.store.open import open_worker_store
from tests.integration.service.embeddings import MODEL, embeddings
from tests.integration.store.conftest import Brain
from tests.integration.store.tables import wait_for_lock_waiters
from tests.support.clones import Clone
from tests.support.waiting import eventually_async

TEXTS = [f"In den Häusern am Fluss {i} spielten Kinder, the children played." for i in range(130)]
QUESTIONS = ("Wo spielt ein Kind?", "houses by the river", "Häuser 7")


@pytest.fixture
async def maintenance(database: Clone) -> AsyncIterator[MaintenanceStore]:
    async with (
        open_worker_store(database.worker_dsn, DatabaseSettings()) as store,
        store.acquire("test", Shard(0, 1)) as session,
    ):
        assert session is not None
        yield session


class MovableClock:
    """A clock that can be advanced, so that no test waits for a pause to end."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def workers(brain: Brain, clock: MovableClock) -> list[Job]:
    return [Reencode(brain.services.encoders, clock, 1.0), Reanalyze(clock, 1.0)]


async def work(workers: Sequence[Job], maintenance: MaintenanceStore) -> int:
    """Run the jobs until nothing more can be done now, and return the number of rows."""
    done = 0
    for worker in workers:
        while (batch := await worker.run_once(maintenance)).has_more:
            done += batch.rows
    return done


async def answers(brain: Brain) -> list[list[tuple[str, float]]]:
    """Recall the questions, check that no answer is degraded, and return texts and scores."""
    results = [await brain.recall(question, top_k=50) for question in QUESTIONS]
    assert [answer.degraded for answer in results] == [()] * len(QUESTIONS)
    return [[(hit.memory.text, hit.score) for hit in answer.hits] for answer in results]


def check_consistent(database: Clone) -> None:
    """Check that terms are of the namespace's analyzer, vectors of its encoder, and counts exact."""
    with psycopg.connect(database.owner_dsn) as owner:
        for ns, analyzer, encoder, mark in owner.execute(
            "SELECT id, analyzer, encoder, analyzed_after FROM namespaces"
        ).fetchall():
            assert mark is None
            stored: dict[int, Counter[str]] = {}
            for memory, term, tf, length in owner.execute(
                "SELECT memory, term, tf, length FROM memory_terms WHERE namespace_id = %s", [ns]
            ):
                stored.setdefault(memory, Counter())[term] = tf
                assert length == owner.execute("SELECT length FROM memories WHERE id = %s", [memory]).fetchone()[0]  # type: ignore[index]
            texts = owner.execute("SELECT id, text, length FROM memories WHERE namespace_id = %s", [ns]).fetchall()
            expected = {memory: get_analyzer(analyzer).terms(text) for memory, text, _ in texts}
            assert stored == {memory: terms for memory, terms in expected.items() if terms}
            assert {memory: terms.total() for memory, terms in expected.items()} == {
                m: length for m, _, length in texts
            }
            vectors = owner.execute(
                "SELECT memory, encoder_id, embedding FROM memory_vectors WHERE namespace_id = %s", [ns]
            ).fetchall()
            assert {encoder_id for _, encoder_id, _ in vectors} <= {encoder}
            assert {memory for memory, _, _ in vectors} == (set() if encoder == "lexical" else expected.keys())
            df = Counter(term for terms in expected.values() for term in terms)
            assert dict(owner.execute("SELECT term, df FROM terms WHERE namespace_id = %s", [ns]).fetchall()) == df
            counts = owner.execute(
                "SELECT memories, tokens, vectors FROM usage WHERE namespace_id = %s", [ns]
            ).fetchone()
            assert counts == (len(expected), sum(terms.total() for terms in expected.values()), len(vectors))


async def test_new_encoder_answers_as_if_always_set(
    brain: Brain, maintenance: MaintenanceStore, workers: list[Job], database: Clone
) -> None:
    other = brain.at("other")
    await other.create(encoder="lexical")
    for text in TEXTS:
        await brain.remember(text, event_time=datetime(2024, 1, 1, tzinfo=UTC))
        await other.remember(text, event_time=datetime(2024, 1, 1, tzinfo=UTC))
    before = await other.recall("children")
    changed = await other.change(encoder=ENCODER_ID)
    assert changed.settings.encoder == ENCODER_ID
    assert changed.version == len(TEXTS) + 1
    assert ((await other.statistics()).vectors, (await other.statistics()).unencoded) == (0, len(TEXTS))
    meanwhile = await other.recall("children")
    assert meanwhile.degraded == (DegradedReason.REENCODING,)
    assert [hit.memory.name for hit in meanwhile.hits] == [hit.memory.name for hit in before.hits]
    await workers[0].run_once(maintenance)
    assert 0 < (await other.statistics()).unencoded < len(TEXTS)
    await work(workers, maintenance)
    assert ((await other.statistics()).vectors, (await other.statistics()).unencoded) == (len(TEXTS), 0)
    for ours, theirs in zip(await answers(other), await answers(brain), strict=True):
        # Encoded with other texts beside them, so padded otherwise: equal but for the last digits.
        assert [score for _, score in ours] == pytest.approx([score for _, score in theirs], abs=1e-3)
    check_consistent(database)
    await other.change(encoder="lexical")
    assert ((await other.statistics()).vectors, (await other.statistics()).unencoded) == (0, 0)
    assert not (await other.recall("children")).degraded
    assert await work(workers, maintenance) == 0
    check_consistent(database)


async def test_new_language_answers_as_if_always_set(
    words: Brain, maintenance: MaintenanceStore, clock: MovableClock, database: Clone
) -> None:
    german = words.at("german")
    await german.create(encoder="lexical", language="de")
    for text in TEXTS:
        await words.remember(text, event_time=datetime(2024, 1, 1, tzinfo=UTC))
        await german.remember(text, event_time=datetime(2024, 1, 1, tzinfo=UTC))
    assert not (await words.recall("ein Haus")).hits
    changed = await words.change(language="de")
    assert (changed.settings.language, changed.analyzer, changed.version) == ("de", "de-1", len(TEXTS) + 1)
    assert (await words.statistics()).unanalyzed == len(TEXTS)
    assert (await words.recall("ein Haus")).degraded == (DegradedReason.REANALYZING,)
    await words.remember(TEXTS[0], event_time=datetime(2024, 1, 1, tzinfo=UTC))
    await german.remember(TEXTS[0], event_time=datetime(2024, 1, 1, tzinfo=UTC))
    worker = Reanalyze(clock, 1.0)
    assert (await worker.run_once(maintenance)).has_more
    assert 0 < (await words.statistics()).unanalyzed < len(TEXTS)
    assert await work([worker], maintenance) == len(TEXTS) + 1 - 100
    assert (await words.statistics()).unanalyzed == 0
    assert await answers(words) == await answers(german)
    check_consistent(database)


async def test_repeated_setting_change_does_nothing(
    brain: Brain, maintenance: MaintenanceStore, workers: list[Job]
) -> None:
    """A repeated change does nothing, whether the setting is still the same or has been changed since."""
    await brain.remember("Bees dance.")
    one = NamespaceChange(
        NamespaceDraft(brain.parent, settings=NamespaceSettings(encoder="lexical")), ("settings.encoder",)
    )
    await update_namespace(brain.services, brain.tenant, one, request_id="r")
    await brain.change(encoder="")
    await work(workers, maintenance)
    measured = await brain.statistics()
    again = await update_namespace(brain.services, brain.tenant, one, request_id="r")
    assert again.settings.encoder == ENCODER_ID
    assert await brain.statistics() == measured
    version = again.version
    assert (await brain.change(encoder=ENCODER_ID, language="en")).version == version
    assert await brain.statistics() == measured
    for wrong in ({"encoder": "gpt"}, {"language": "tlh"}):
        with pytest.raises(InvalidArgument, match=r"namespace\.settings\."):
            await brain.change(**wrong)


async def test_writes_during_setting_changes_use_the_settings_in_force(
    brain: Brain, maintenance: MaintenanceStore, clock: MovableClock, database: Clone
) -> None:
    """Memories stored by eight writers while encoder and language change are indexed by the settings in force."""
    workers: list[Job] = [Reencode(brain.services.encoders, clock, 1.0), Reanalyze(clock, 1.0)]
    done = asyncio.Event()

    async def write(number: int) -> None:
        memories = []
        for i in range(12):
            try:
                memories.append((await brain.remember(f"{TEXTS[i]} writer {number}", session=f"s{number}")).memory)
                if i % 3 == 1:
                    memories[-1] = (await brain.update(memories[-1], text=f"Umgeschrieben in Häusern {i}")).memory
                if i % 4 == 3 and memories:
                    await brain.update(memories[0], salience=0.7)
                if i % 5 == 4 and memories:
                    await brain.forget(memories.pop(0).name)
            except Aborted:  # the settings changed meanwhile, and the caller is told so
                continue

    async def change() -> None:
        while not done.is_set():
            for settings in ({"language": "de"}, {"encoder": "lexical"}, {"language": "en"}, {"encoder": ENCODER_ID}):
                await brain.change(**settings)
                await asyncio.sleep(0.2)

    async def index() -> None:
        while not done.is_set():
            for worker in workers:
                try:
                    await worker.run_once(maintenance)
                except SomaBrainError as exc:
                    pytest.fail(f"the work failed: {exc}")
            clock.ahead += timedelta(minutes=2)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(change())
        tasks.create_task(index())
        async with asyncio.TaskGroup() as writers:
            for number in range(8):
                writers.create_task(write(number))
        done.set()
    assert len(await brain.list_all()) > 20
    for _ in range(3):
        clock.ahead += timedelta(minutes=2)
        await work(workers, maintenance)
    check_consistent(database)


class Faulty(PooledEncoder):
    """The real encoder, which fails while `failing` is set, and always for some texts."""

    encoder_id = ENCODER_ID
    dimensions = DIMENSIONS

    def __init__(self, encoder: OnnxEncoder) -> None:
        self._encoder = encoder
        self.failing = False

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.failing or any("unspeakable" in text for text in texts):
            raise EncoderUnavailable("It does not answer.")
        return await self._encoder.encode(texts)

    async def close(self) -> None:
        """Do nothing: the owner of the encoder closes it."""


async def test_memories_stored_during_encoder_outage_are_encoded_later(
    brain: Brain, minilm: OnnxEncoder, maintenance: MaintenanceStore, clock: MovableClock, database: Clone
) -> None:
    """Memories stored while the encoder was unavailable are encoded once it is available again.

    A text that cannot be encoded delays no other, in its namespace or in another.
    """
    faulty = Faulty(minilm)
    encoders: dict[str, Encoder] = {ENCODER_ID: faulty}
    ours = replace(brain, services=replace(brain.services, encoders=encoders))
    worker = Reencode(encoders, clock, 1.0)
    faulty.failing = True
    for text in ["unspeakable"] * 20 + TEXTS[:20] + ["unspeakable"]:
        await ours.remember(text)
    other = ours.at("other")
    await other.create()
    await other.remember("Bees dance.")
    assert await work([worker], maintenance) == 0
    assert (await ours.statistics()).unencoded == 41
    faulty.failing = False
    for _ in range(8):
        clock.ahead += timedelta(minutes=2)
        await work([worker], maintenance)
    assert ((await ours.statistics()).unencoded, (await ours.statistics()).vectors) == (21, 20)
    assert ((await other.statistics()).unencoded, (await other.statistics()).vectors) == (0, 1)
    answer = await ours.recall("a river with houses", top_k=5)
    assert answer.degraded == (DegradedReason.REENCODING,)
    assert all(hit.breakdown.dense > 0 for hit in answer.hits)


async def test_clock_moved_back_does_not_delay_encoding(
    brain: Brain, minilm: OnnxEncoder, maintenance: MaintenanceStore, clock: MovableClock
) -> None:
    """After a failover to a database whose clock is an hour behind, a back-off of seconds does not become an hour."""
    faulty = Faulty(minilm)
    encoders: dict[str, Encoder] = {ENCODER_ID: faulty}
    worker = Reencode(encoders, clock, 1.0)
    faulty.failing = True
    await replace(brain, services=replace(brain.services, encoders=encoders)).remember("Bees dance.")
    assert await work([worker], maintenance) == 0
    faulty.failing = False
    assert await work([worker], maintenance) == 0, "it waits before it tries again"
    done = 0
    for _ in range(2):  # the end of the failed pass, and the next one
        clock.ahead -= timedelta(hours=1)
        done += await work([worker], maintenance)
    assert done == 1


@pytest.mark.parametrize("settings", ["encoder = 'lexical'", "analyzer = 'de-1', language = 'de'"])
async def test_write_prepared_before_a_setting_change_is_refused(brain: Brain, database: Clone, settings: str) -> None:
    """A write that was prepared with the former settings is refused after they have changed.

    It was indexed by the former encoder and analyzer, and the change would not reindex it.
    """
    stored = (await brain.remember("Bees dance.")).memory
    for write in (
        brain.remember("Wasps do not."),
        brain.remember_all(RememberItem(MemoryDraft("Wasps do not."))),
        brain.update(stored, text="Bees sing."),
    ):
        with psycopg.connect(database.owner_dsn) as changing:
            changing.execute(f"UPDATE namespaces SET {settings}, revision = revision + 1")
            writing = asyncio.create_task(write)
            await wait_for_lock_waiters(database, 1)
            changing.commit()
        with pytest.raises(Aborted, match="settings were changed"):
            await writing
        assert await brain.list_all() == [stored]


async def test_reindexing_emits_no_event_and_export_stays_complete(
    brain: Brain, maintenance: MaintenanceStore, workers: list[Job]
) -> None:
    lexical = brain.at("lexical")
    await lexical.create(encoder="lexical")
    brain = lexical
    batches = [[RememberItem(MemoryDraft(f"Häuser {i}")) for i in range(400)] for _ in range(3)]
    memories = [memory for items in batches for memory in await brain.remember_all(*items)]
    assert len(memories) > limits.MAX_PAGE_SIZE
    cursor = ""
    async with aclosing(watch_memories(brain.services, brain.tenant, WatchQuery(brain.parent))) as events:
        async for event in events:
            cursor = event.cursor
            break
    exported: list[object] = []
    async with aclosing(export_memories(brain.services, brain.tenant, ExportQuery(brain.parent))) as pages:
        async for page in pages:
            exported += [memory.name for memory, _ in page.memories]
            if len(exported) == len(page.memories) < len(memories):
                await brain.change(language="de")
                await work(workers, maintenance)
    assert exported == [memory.name for memory in memories]
    last = (await brain.remember("Bees dance.")).memory
    async with aclosing(watch_memories(brain.services, brain.tenant, WatchQuery(brain.parent, cursor))) as events:
        async for event in events:
            if event.change is not None:
                assert (event.change.type, event.change.name) == (ChangeType.REMEMBERED, last.name)
                break


async def test_job_moves_to_a_process_that_reaches_the_encoder(
    brain: Brain, database: Clone, clock: MovableClock
) -> None:
    """The leader's endpoint refuses connections, the other process' own one answers: memories are encoded soon."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(embeddings(brain.services.encoders[ENCODER_ID]))
        urls = {"broken": "http://127.0.0.1:1/v1/embeddings", "sound": server.url}
        runners: list[JobRunner] = []
        for url in urls.values():
            fields = {"id": "remote", "url": url, "model": MODEL, "dimensions": DIMENSIONS, "attempts": 1}
            encoder = await stack.enter_async_context(open_endpoint(EmbeddingsEndpoint.model_validate(fields)))
            store = await stack.enter_async_context(open_worker_store(database.worker_dsn, DatabaseSettings()))
            job = Reencode({"remote": encoder}, clock, 0.2)
            runners.append(JobRunner(job, Shard(0, 1), store, Metrics(), lambda: True))
        with psycopg.connect(database.owner_dsn) as owner:
            await brain.remember("Bees dance.")
            owner.execute("UPDATE namespaces SET encoder = 'remote'")
            owner.execute("UPDATE usage SET vectors = 0")
            owner.execute("DELETE FROM memory_vectors")
        running = [asyncio.create_task(runners[0].run())]
        await asyncio.sleep(1)  # it is the leader, and fails
        running.append(asyncio.create_task(runners[1].run()))

        async def encoded() -> bool:
            with psycopg.connect(database.owner_dsn) as owner:
                return owner.execute("SELECT count(*) FROM memory_vectors").fetchone() == (1,)

        await eventually_async(encoded)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class EncoderFailingForOneText(PooledEncoder):
    """The real encoder, except that it fails for one text."""

    def __init__(self, encoder: Encoder, text: str) -> None:
        self._encoder, self._text = encoder, text
        self.encoder_id, self.dimensions = encoder.encoder_id, encoder.dimensions

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode, or fail."""
        if self._text in texts:
            raise EncoderUnavailable("It does not like a text.")
        return await self._encoder.encode(texts)

    async def close(self) -> None:
        """Do nothing: the encoder belongs to others."""


async def test_text_that_cannot_be_encoded_does_not_cost_the_job_lock(
    brain: Brain, maintenance: MaintenanceStore, database: Clone, clock: MovableClock
) -> None:
    """The run does not fail, so its process keeps the job, and encodes later memories at once."""
    lexical = brain.at("picky")
    await lexical.create(encoder="lexical")
    await lexical.remember("Wasps do not.")
    await lexical.change(encoder=ENCODER_ID)
    job = Reencode(
        {ENCODER_ID: EncoderFailingForOneText(brain.services.encoders[ENCODER_ID], "Wasps do not.")}, clock, 1.0
    )
    assert (await job.run_once(maintenance)).failure is None
    await lexical.remember("Bees dance.")
    clock.ahead += timedelta(minutes=1)
    assert (await job.run_once(maintenance)).failure is None
