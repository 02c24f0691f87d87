"""Recall with the cache returns the same as Recall without it, and Redis never stores a word of a memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from redis.asyncio import Redis as Client

from common.config.settings import CacheSettings, DatabaseSettings, SearchIndexSettings
from common.utils.cache import open_cache
from devcluster.loopback import Redis, redis
from somabrain_service.commands.delete_namespace import delete_namespace
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.update_namespace import update_namespace
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, Vector
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.domain.namespace import NamespaceChange, NamespaceDraft, NamespaceSettings
from somabrain_service.domain.recall import DegradedReason, RecallResult
from somabrain_service.encoders.minilm import ENCODER_ID
from somabrain_service.encoders.protocols import LEXICAL, Encoder, EncoderUnavailable, PooledEncoder
from somabrain_service.flags.registry import FixedFlags, Flags
from somabrain_service.grpc_server import with_result_cache
from somabrain_service.metrics import Metrics
from somabrain_service.store.open import open_store
from tests.integration.store.conftest import Brain, wait_until_loaded
from tests.support.clones import Clone

SECRET = "Quetzalcoatl breeds axolotls in Xochimilco"


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with redis() as running:
        yield running


@dataclass
class Pair:
    """A namespace, accessed with the cache and without it."""

    with_cache: Brain
    without: Brain
    now: list[datetime]

    async def recall(self, query: str = "", **fields: object) -> RecallResult:
        """Recall with the cache, and check that the answer equals the one without it."""
        answer = await self.with_cache.recall_once(query, **fields)
        exact = await self.without.recall_once(query, **fields)
        assert replace(answer, cached=False) == exact
        return answer

    def switched(self, **flags: bool) -> Pair:
        chosen = FixedFlags(Flags.model_validate(flags))

        def switch(brain: Brain) -> Brain:
            return replace(brain, services=replace(brain.services, flags=chosen))

        return replace(self, with_cache=switch(self.with_cache), without=switch(self.without))


@pytest.fixture
async def pair(database: Clone, minilm: Encoder, server: Redis) -> AsyncIterator[Pair]:
    """The namespace `notes` with vectors, and a clock that a test may set."""
    server.command("FLUSHALL")
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(database.app_dsn, DatabaseSettings()))
        plain = AppContext(store, {ENCODER_ID: minilm}, ENCODER_ID, clock=lambda: now[0])
        settings = CacheSettings.model_validate({"url": server.url, "timeout_s": 1.0})
        cache = await stack.enter_async_context(open_cache(settings, Metrics().cache))
        tenant, parent = tenant_id("https://issuer.test", "a"), NamespaceName.of("notes")
        created = Pair(Brain(with_result_cache(plain, cache), tenant, parent), Brain(plain, tenant, parent), now)
        yield created


async def remember_some(pair: Pair, count: int = 12) -> list[Memory]:
    chance = random.Random(3)
    words = ("bee", "hive", "winter", "honey", "meadow", "queen", "frost", "swarm")
    memories = []
    for number in range(count):
        text = " ".join(chance.choices(words, k=5))
        memories.append(
            (await pair.without.remember(text, session=f"s{number % 3}", subject=f"hive-{number % 2}")).memory
        )
    return memories


QUESTIONS: list[dict[str, object]] = [
    {"query": "bees in winter"},
    {"query": "honey", "top_k": 3},
    {"query": "honey", "filter": MemoryFilter(subjects=("hive-1",))},
    {"query": "honey", "min_score": 0.9},
    {"vector": Vector.of(tuple(float(number % 7) for number in range(384)))},
    {"query": "frost", "vector": Vector.of(tuple(float(number % 5) for number in range(384)))},
    {"query": "nothing that anybody said"},
]


async def test_cached_recall_equals_computed_recall(pair: Pair) -> None:
    """The second answer to a question of any kind is cached and exactly the same as the first."""
    await pair.without.create()
    await remember_some(pair)
    for question in QUESTIONS:
        assert not (await pair.recall(**question)).cached  # type: ignore[arg-type]
        assert (await pair.recall(**question)).cached, question  # type: ignore[arg-type]


async def test_min_score_reuses_the_cached_ranking(pair: Pair) -> None:
    await pair.without.create()
    await remember_some(pair)
    await pair.recall("honey")
    assert (await pair.recall("honey", min_score=0.9)).cached


async def test_every_write_invalidates_cached_recall(pair: Pair) -> None:
    await pair.without.create()
    first = (await remember_some(pair))[0]
    for write in (
        lambda: pair.without.remember("honey honey honey"),
        lambda: pair.without.update(first, text="honey of the queen"),
        lambda: pair.without.forget(first.name),
    ):
        await pair.recall("honey")
        assert (await pair.recall("honey")).cached
        await write()
        assert not (await pair.recall("honey")).cached


async def test_expired_memory_leaves_cached_recall_on_time(pair: Pair) -> None:
    await pair.without.create()
    await remember_some(pair)
    await pair.without.remember("honey today", ttl=timedelta(seconds=90))
    await pair.without.remember("honey this week", ttl=timedelta(days=7))
    before = await pair.recall("honey")
    pair.now[0] += timedelta(seconds=89)
    assert (await pair.recall("honey")).cached
    pair.now[0] += timedelta(seconds=1)
    after = await pair.recall("honey")
    assert not after.cached
    assert {hit.memory.text for hit in before.hits} - {hit.memory.text for hit in after.hits} >= {"honey today"}


async def test_cached_recall_expires_with_its_recency_step(pair: Pair) -> None:
    """An answer is cached within one step of recency, a minute for a half-life of 1024 minutes, never across two."""
    await pair.without.create(recency_half_life=timedelta(minutes=1024))
    await remember_some(pair)
    pair.now[0] += timedelta(hours=7)
    recencies = set()
    for _ in range(6):
        recencies.add((await pair.recall("honey")).hits[0].breakdown.recency)
        pair.now[0] += timedelta(seconds=20)
    assert 2 <= len(recencies) <= 3


async def test_changed_namespace_settings_miss_the_cache(pair: Pair) -> None:
    await pair.without.create()
    await remember_some(pair)
    await pair.recall("honey")
    draft = NamespaceDraft(pair.without.parent, settings=NamespaceSettings(recency_half_life=timedelta(days=1)))
    change = NamespaceChange(draft, ("settings.recency_half_life",))
    for brain in (pair.without, pair.with_cache):
        await update_namespace(brain.services, brain.tenant, change)
    assert not (await pair.recall("honey")).cached


async def test_ranking_flags_are_part_of_the_cache_key(pair: Pair) -> None:
    await pair.without.create()
    await remember_some(pair)
    for flags in ({}, {"contiguity": False}, {"bias": False}, {"dense_recall": False}):
        switched = pair.switched(**flags)
        assert not (await switched.recall("honey")).cached
        assert (await switched.recall("honey")).cached
    assert not (await pair.switched(recall_cache=False).recall("honey")).cached


async def test_cache_is_not_shared_between_tenants_or_namespaces(pair: Pair) -> None:
    others = [
        replace(pair, with_cache=pair.with_cache.of("b"), without=pair.without.of("b")),
        replace(pair, with_cache=pair.with_cache.at("more"), without=pair.without.at("more")),
    ]
    for one in (pair, *others):
        await one.without.create()
        await remember_some(one)
        assert not (await one.recall("honey")).cached


async def test_recreated_namespace_does_not_reuse_cached_recall(pair: Pair) -> None:
    for _ in range(2):
        await pair.without.create()
        await remember_some(pair)
        assert not (await pair.recall("honey")).cached
        await delete_namespace(pair.without.services, pair.without.tenant, pair.without.parent)


async def test_cached_recall_reports_unavailable_encoder_each_time(pair: Pair) -> None:
    """The lexical ranking is cached; each call itself reports that the encoder is unavailable."""

    class UnavailableEncoder(PooledEncoder):
        encoder_id, dimensions = ENCODER_ID, 384

        async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            raise EncoderUnavailable("away")

        async def close(self) -> None: ...

    await pair.without.create()
    await remember_some(pair)
    services = replace(pair.with_cache.services, encoders={ENCODER_ID: UnavailableEncoder()})
    away = replace(pair.with_cache, services=services)
    for cached in (False, True):
        answer = await away.recall_once("honey swarm")
        assert (answer.cached, answer.degraded) == (cached, (DegradedReason.ENCODER_UNAVAILABLE,))
    answer = await pair.recall("honey swarm")
    assert (answer.cached, answer.degraded, answer.encoder_id) == (False, (), ENCODER_ID)


async def test_query_vector_is_encoded_once_for_all_processes(pair: Pair, minilm: Encoder, server: Redis) -> None:
    """The vector of a query is encoded once for all processes, because it is stored in Redis."""
    encoded = []

    class Counting(PooledEncoder):
        encoder_id, dimensions = ENCODER_ID, 384

        async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            encoded.append(list(texts))
            return await minilm.encode(texts)

        async def close(self) -> None: ...

    await pair.without.create()
    services = replace(pair.without.services, encoders={ENCODER_ID: Counting()})
    settings = CacheSettings.model_validate({"url": server.url, "timeout_s": 1.0})
    for _ in range(2):
        async with open_cache(settings, Metrics().cache) as cache:
            brain = replace(pair.with_cache, services=with_result_cache(services, cache))
            for _ in range(3):
                await brain.recall_once("Where is the honey?")
    assert encoded == [["Where is the honey?"]]


async def test_redis_has_no_trace_of_a_forgotten_text(pair: Pair, server: Redis) -> None:
    """After a recalled memory is forgotten, no key or value in Redis contains a word, a stem or the vector of it."""
    await pair.without.create()
    await remember_some(pair)
    stored = (await pair.with_cache.remember(SECRET, session="s0", labels={"who": "Quetzalcoatl"})).memory
    for question in ("axolotls", "Who breeds in Xochimilco?", SECRET[:20]):
        for _ in range(2):
            assert SECRET in {hit.memory.text for hit in (await pair.recall(question)).hits}
    await pair.with_cache.forget(stored.name)
    assert SECRET not in {hit.memory.text for hit in (await pair.recall("axolotls")).hits}
    entries = await dump(server)
    assert len(entries) > 3
    everything = b"\n".join(key + b"=" + value for key, value in entries.items()).lower()
    for word in SECRET.lower().split():
        if len(word) > 2:
            assert word.encode() not in everything
            assert word[:5].encode() not in everything
    vector = (await pair.without.services.encoder(ENCODER_ID).encode([SECRET]))[0]
    assert vector.tobytes()[:64] not in everything
    assert b"notes" not in everything


async def dump(server: Redis) -> dict[bytes, bytes]:
    """All keys and values in Redis."""
    async with Client.from_url(server.url) as client:
        return {key: cast("bytes", await client.get(key)) async for key in client.scan_iter()}


async def test_concurrent_identical_recalls_with_empty_cache_all_succeed(database: Clone, server: Redis) -> None:
    """With a search index each call may start over by itself, also while another one's computation is shared."""
    server.command("FLUSHALL")
    settings = CacheSettings.model_validate({"url": server.url, "timeout_s": 1.0})
    async with (
        open_store(database.app_dsn, DatabaseSettings(), search_index=SearchIndexSettings()) as store,
        open_cache(settings, Metrics().cache) as cache,
    ):
        services = with_result_cache(AppContext(store, {}, LEXICAL), cache)
        brain = Brain(services, tenant_id("https://issuer.test", "a"), NamespaceName.of("words"))
        await brain.create(encoder=LEXICAL)
        for number in range(30):
            await brain.remember(f"Bee {number} dances in meadow {number % 7}.")
        await wait_until_loaded(services, brain.tenant, brain.parent)
        await brain.recall("warm")

        async def recall(query: str, delay_s: float) -> list[str]:
            await asyncio.sleep(delay_s)
            return [hit.memory.text for hit in (await brain.recall_once(query)).hits]

        for number in range(25):
            query = f"meadow {number} bee"
            answers = await asyncio.gather(*(recall(query, caller * 0.0004) for caller in range(12)))
            assert all(answer == answers[0] for answer in answers)
