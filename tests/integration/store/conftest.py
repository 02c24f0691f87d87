"""The commands over a real store and a real encoder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydantic import SecretStr

from common.config.settings import CacheSettings, DatabaseSettings, SearchIndexSettings
from common.errors import NotFound
from common.utils.cache import open_cache
from devcluster.loopback import Redis, redis
from somabrain_service.commands.batch_remember_memories import RememberItem, batch_remember_memories
from somabrain_service.commands.create_namespace import create_namespace
from somabrain_service.commands.forget_memory import forget_memory
from somabrain_service.commands.get_memory import get_memory
from somabrain_service.commands.get_namespace import get_namespace
from somabrain_service.commands.list_memories import list_memories
from somabrain_service.commands.recall_memories import recall_memories
from somabrain_service.commands.remember_memory import RememberResult, remember_memory
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.update_memory import update_memory
from somabrain_service.commands.update_namespace import update_namespace
from somabrain_service.domain.memory import Memory, MemoryDraft, Vector
from somabrain_service.domain.names import MemoryKey, MemoryRef, NamespaceName, TenantId, tenant_id
from somabrain_service.domain.namespace import (
    Namespace,
    NamespaceChange,
    NamespaceDraft,
    NamespaceSettings,
    NamespaceStatistics,
)
from somabrain_service.domain.pagination import ListQuery
from somabrain_service.domain.patch import MemoryPatch
from somabrain_service.domain.recall import RecallQuery, RecallResult
from somabrain_service.encoders import minilm as image
from somabrain_service.encoders.minilm import ENCODER_ID
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.grpc_server import with_result_cache
from somabrain_service.metrics import Metrics
from somabrain_service.recall.result_cache import CachedRanker
from somabrain_service.store.maintenance import MaintenanceStore, Shard, WorkerStore
from somabrain_service.store.open import open_store, open_worker_store
from somabrain_service.store.postgres.queries.delete import BATCH_SIZE
from somabrain_service.store.search_index.store import SearchIndexStore
from tests.support.clones import Clone


@dataclass(frozen=True, slots=True)
class Brain:
    """A tenant's view of a namespace, with the commands as verbs."""

    services: AppContext
    tenant: TenantId
    parent: NamespaceName

    def of(self, tenant: str) -> Brain:
        """The namespace of the same name of another tenant."""
        return replace(self, tenant=tenant_id("https://issuer.test", tenant))

    def at(self, namespace: str) -> Brain:
        """Another namespace of the same tenant."""
        return replace(self, parent=NamespaceName.of(namespace))

    async def create(self, **settings: Any) -> Namespace:
        draft = NamespaceDraft(self.parent, settings=NamespaceSettings(**settings))
        return await create_namespace(self.services, self.tenant, draft)

    async def remember(
        self, text: str, *, vector: Vector | None = None, request_id: str = "", **fields: Any
    ) -> RememberResult:
        draft = MemoryDraft(text, **fields)
        return await remember_memory(
            self.services, self.tenant, self.parent, draft, vector=vector, request_id=request_id
        )

    async def recall_once(self, query: str = "", **fields: Any) -> RecallResult:
        store = self.services.store
        if isinstance(store, SearchIndexStore) and not store.indexes.peek(self.tenant, self.parent):
            await wait_until_loaded(self.services, self.tenant, self.parent)
        return await recall_memories(self.services, self.tenant, RecallQuery(self.parent, query, **fields))

    async def recall(self, query: str = "", **fields: Any) -> RecallResult:
        """Recall; where there is a cache, recall twice and check that the cached answer equals the computed one."""
        answer = await self.recall_once(query, **fields)
        if not isinstance(self.services.ranker, CachedRanker):
            return answer
        cached = await self.recall_once(query, **fields)
        # A page token has the time of its call in it.
        expected = replace(answer, cached=True, next_page_token=cached.next_page_token)
        assert replace(cached, cached=True) == expected, "what is known is what was worked out"
        return cached

    async def recalled_texts(self, query: str, **fields: Any) -> list[str]:
        return [hit.memory.text for hit in (await self.recall(query, **fields)).hits]

    async def update(
        self, memory: Memory, *, vector: Vector | None = None, etag: str = "", request_id: str = "", **fields: Any
    ) -> RememberResult:
        patch = MemoryPatch(tuple(sorted(fields)), **fields)
        return await update_memory(
            self.services, self.tenant, memory.name, patch, etag=etag, vector=vector, request_id=request_id
        )

    def key(self, key: str) -> MemoryKey:
        """The name of the memory with a key."""
        return MemoryKey.of(self.parent, key)

    async def get(self, key: str) -> Memory:
        """The live memory with a key."""
        return await get_memory(self.services, self.tenant, self.key(key))

    async def upsert(self, key: str, text: str, *, etag: str = "", request_id: str = "", **fields: Any) -> Memory:
        """Create the memory with a key, or change it."""
        patch = MemoryPatch(("text", *sorted(fields)), text=text, **fields)
        written = await update_memory(
            self.services,
            self.tenant,
            self.key(key),
            patch,
            etag=etag,
            request_id=request_id,
            create=lambda: MemoryDraft(text, key=key, **fields),
        )
        return written.memory

    async def remember_all(self, *items: RememberItem) -> list[Memory]:
        """Store a batch, and check that every item was stored."""
        batch = await batch_remember_memories(self.services, self.tenant, self.parent, items)
        memories = [result for result in batch.results if isinstance(result, Memory)]
        assert len(memories) == len(items), batch.results
        return memories

    async def namespace(self) -> Namespace:
        """The current namespace."""
        async with self.services.store.snapshot(self.tenant, self.parent, self.services.clock()) as reading:
            return reading.namespace

    async def forget(self, name: MemoryRef, **fields: Any) -> str:
        return await forget_memory(self.services, self.tenant, name, **fields)

    async def forget_all(self) -> None:
        """Forget every memory, expired ones but for their rows."""
        for memory in await self.list_all(page_size=1000):
            await self.forget(memory.name)

    async def change(self, **settings: Any) -> Namespace:
        """Change settings of the namespace, such as its language or encoder."""
        draft = NamespaceDraft(self.parent, settings=NamespaceSettings(**settings))
        change = NamespaceChange(draft, tuple(f"settings.{name}" for name in sorted(settings)))
        return await update_namespace(self.services, self.tenant, change)

    async def statistics(self) -> NamespaceStatistics:
        return (await get_namespace(self.services, self.tenant, self.parent))[1]

    async def list_all(self, **fields: Any) -> list[Memory]:
        """The memories of all pages of a list."""
        memories: list[Memory] = []
        token = ""
        while True:
            query = ListQuery(self.parent, page_token=token, **fields)
            page = await list_memories(self.services, self.tenant, query)
            memories += page.memories
            token = page.next_page_token
            if not token:
                return memories


async def wait_until_loaded(services: AppContext, tenant: TenantId, parent: NamespaceName) -> None:
    """With a search index, wait until the namespace is loaded into memory, so that the index answers."""
    store = services.store
    if not isinstance(store, SearchIndexStore):
        return
    with contextlib.suppress(NotFound):
        async with store.snapshot(tenant, parent, services.clock()) as reading:
            await reading.statistics()
    await store.indexes.wait_until_loaded()


@pytest.fixture(scope="session")
def minilm() -> Iterator[OnnxEncoder]:
    encoder = image.load(threads=1)
    yield encoder
    asyncio.run(encoder.close())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    with redis() as running:
        yield running


@pytest.fixture
def delete_batch_size() -> int:
    """Maximum memories that one statement deletes; a test may parametrize it."""
    return BATCH_SIZE


@pytest.fixture(params=["postgresql", "search index", "cached"])
async def services(
    database: Clone, minilm: OnnxEncoder, redis_server: Redis, delete_batch_size: int, request: pytest.FixtureRequest
) -> AsyncIterator[AppContext]:
    """Each store in turn: searched in PostgreSQL, searched in memory, and behind a result cache."""
    search_index = SearchIndexSettings() if request.param == "search index" else None
    url = SecretStr(redis_server.url) if request.param == "cached" else None
    redis_server.command("FLUSHALL")
    async with (
        open_store(
            database.app_dsn, DatabaseSettings(), search_index=search_index, delete_batch_size=delete_batch_size
        ) as store,
        open_cache(CacheSettings(url=url, timeout_s=1.0), Metrics().cache) as cache,
    ):
        yield with_result_cache(AppContext(store, {ENCODER_ID: minilm}, ENCODER_ID), cache)


@pytest.fixture
async def brain(services: AppContext) -> Brain:
    """The namespace `notes` of the tenant `a`, empty, with the default encoder."""
    created = Brain(services, tenant_id("https://issuer.test", "a"), NamespaceName.of("notes"))
    await created.create()
    return created


@pytest.fixture
async def words(services: AppContext) -> Brain:
    """The namespace `words` of the tenant `a`, empty, without vectors."""
    created = Brain(services, tenant_id("https://issuer.test", "a"), NamespaceName.of("words"))
    await created.create(encoder="lexical")
    return created


@pytest.fixture
async def workers(database: Clone) -> AsyncIterator[WorkerStore]:
    async with open_worker_store(database.worker_dsn, DatabaseSettings()) as store:
        yield store


@pytest.fixture
async def maintenance(workers: WorkerStore) -> AsyncIterator[MaintenanceStore]:
    async with workers.acquire("test", Shard(0, 1)) as session:
        assert session is not None
        yield session
