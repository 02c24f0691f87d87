"""Search indexes of this process: loaded in the background, updated from the change feed, within a memory budget.

A call never waits for an index to be loaded; until it is, PostgreSQL answers. An index catches up with the version of a
snapshot before it answers, by changes read in that same snapshot. The size of all indexes stays within a budget: the
least recently used one is evicted, and a namespace that exceeds the budget alone is not indexed.

Token vectors, most of what there is to hold, are loaded after their index and only into what the budget has left, and
they are the first to go: no index is evicted while any are in memory. PostgreSQL has those of the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime

import structlog

from common.config.settings import LEXICAL
from common.errors import SomaBrainError
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.store.index_source import IndexSource
from somabrain_service.store.records import Statistics
from somabrain_service.store.search_index.entry import IndexEntry
from somabrain_service.store.search_index.index import SearchIndex
from somabrain_service.store.search_index.threads import SearchThreads
from somabrain_service.store.tasks import TaskSet

_log = structlog.stdlib.get_logger(__name__)

LOAD_PAGE_SIZE = 2_000
"""Number of memories per query while loading."""
MAX_OVERSIZED = 10_000
"""Maximum number of oversized namespaces that are remembered."""

Key = tuple[TenantId, NamespaceName]
OpenSource = Callable[[TenantId, NamespaceName], AbstractAsyncContextManager[IndexSource]]


@dataclass(frozen=True, slots=True)
class AssumedIndex:
    """An index, and its namespace as it was when PostgreSQL last had the index's version."""

    index: SearchIndex
    namespace: Namespace


class SearchIndexManager:
    """Search indexes of a process, loaded by `tasks`.

    At most `budget_bytes` in total; an index that was not used for `idle_s` seconds is evicted.
    """

    def __init__(self, budget_bytes: int, idle_s: float, open_source: OpenSource, tasks: TaskSet) -> None:
        self._budget_bytes = budget_bytes
        self._idle_s = idle_s
        self._open_source = open_source
        self._tasks = tasks
        self.threads = SearchThreads()
        # Not cachetools' LRUCache: it takes an entry's size once, and indexes grow with each change.
        self._entries: OrderedDict[Key, IndexEntry] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[None]] = {}
        self._load_lock = asyncio.Lock()
        self._token_load_lock = asyncio.Lock()  # another one: an index is worth more than token vectors
        self._oversized: OrderedDict[Key, int] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Approximate size of all indexes in memory, with token vectors."""
        return sum(entry.size_bytes for entry in self._entries.values())

    @property
    def token_bytes(self) -> int:
        """Approximate size of all token vectors in memory."""
        return sum(entry.index.token_bytes for entry in self._entries.values())

    @property
    def count(self) -> int:
        """Number of indexes."""
        return len(self._entries)

    def close(self) -> None:
        """Cancel all loading, and end the threads."""
        self.threads.close()
        for task in self._loading.values():
            task.cancel()

    async def wait_until_loaded(self) -> None:
        """Wait until nothing is being loaded."""
        while self._loading:
            await asyncio.wait(self._loading.values())

    def peek(self, tenant: TenantId, name: NamespaceName) -> SearchIndex | None:
        """Return the index as it is; None: not loaded."""
        entry = self._entries.get((tenant, name))
        return None if entry is None else entry.index

    def assume_unchanged(self, tenant: TenantId, name: NamespaceName, now: datetime) -> AssumedIndex | None:
        """Return an index whose namespace did not change between the last two calls; None: no such index.

        A namespace that is written between calls is not worth an assumption, which would cost its search twice; the
        same is true of one whose token vectors are needed and only in PostgreSQL.
        """
        self._evict_idle()
        entry = self._entries.get((tenant, name))
        if entry is None or entry.unchanged is None or entry.index.as_of != entry.unchanged.read_version:
            return None
        if entry.tokens_requested and not entry.index.has_tokens:
            return None
        if entry.index.unconfirmed(now):
            return None
        self._touch((tenant, name), entry)
        return AssumedIndex(entry.index, entry.unchanged)

    def doubt(self, tenant: TenantId, name: NamespaceName) -> None:
        """Assume nothing of a namespace until it is seen unchanged again."""
        if entry := self._entries.get((tenant, name)):
            entry.unchanged = None

    async def get_at_version(
        self, tenant: TenantId, namespace: Namespace, source: IndexSource, now: datetime
    ) -> SearchIndex | None:
        """Return the index at exactly the version of `source`; None: not loaded, or already ahead of it."""
        self._evict_idle()
        key = (tenant, namespace.name)
        entry = self._entries.get(key)
        if entry is None:
            return None
        target = namespace.read_version
        async with entry.lock:
            if self._entries.get(key) is not entry:
                return None
            entry.unchanged = namespace if entry.index.as_of == target else None
            if not await self._advance(key, entry, namespace, source):
                return None
            # Memories that the index has as expired may have been renewed, which changes no version.
            if ids := entry.index.unconfirmed(now):
                entry.index.confirm(await source.expiries(ids), now)
            self._touch(key, entry)
            return entry.index

    async def _advance(self, key: Key, entry: IndexEntry, namespace: Namespace, source: IndexSource) -> bool:
        """Let an index catch up with the version of `source`; False: it is ahead, or was dropped. Its lock is held."""
        index, target = entry.index, namespace.read_version
        if index.as_of == target:
            return True
        if index.as_of.epoch == target.epoch and index.as_of.version > target.version:
            return False
        try:
            caught_up = index.can_advance_to(namespace) and await entry.catch_up(target, source)
        except BaseException:
            self.drop(*key)  # such as after cancellation: its thread may still run, and nothing awaits it
            raise
        if not caught_up:
            self.drop(*key)
            return False
        self._evict_to_budget(key)
        return key in self._entries

    def _touch(self, key: Key, entry: IndexEntry) -> None:
        self._entries.move_to_end(key)
        entry.last_used_at = time.monotonic()

    def request_load(self, tenant: TenantId, statistics: Statistics) -> None:
        """Start to load a namespace's index, unless loaded, loading or oversized."""
        key = (tenant, statistics.namespace.name)
        if key in self._entries or key in self._loading:
            return
        if self._oversized.get(key, statistics.memories + 1) <= statistics.memories:
            return
        self._start_loading(key, self._load(key))

    def request_tokens(self, tenant: TenantId, name: NamespaceName) -> None:
        """Start to load an index's token vectors, unless loaded, loading, or more than the budget has left."""
        key = (tenant, name)
        if entry := self._entries.get(key):
            entry.tokens_requested = True
            if key not in self._loading and not entry.index.has_tokens and self._has_headroom(entry):
                self._start_loading(key, self._load_tokens(key, entry))

    def _start_loading(self, key: Key, work: Coroutine[None, None, None]) -> None:
        task = self._tasks.start(work)
        self._loading[key] = task
        task.add_done_callback(lambda _: self._loading.pop(key))

    async def _load(self, key: Key) -> None:
        try:
            async with self._load_lock, self._open_source(*key) as source:
                namespace = source.namespace
                index = SearchIndex(namespace)
                after = -1
                while ids := await source.identifiers(after, LOAD_PAGE_SIZE):
                    index_rows = await source.index_rows(ids, index.encoder_id)
                    await asyncio.to_thread(index.apply, (), index_rows, index.as_of)
                    after = ids[-1]
                    if index.size_bytes > self._budget_bytes:
                        self._mark_oversized(key, index)
                        return
        except SomaBrainError as exc:
            # PostgreSQL answers meanwhile, and the next call requests the index again.
            _log.warning("search index not loaded", reason=exc.message)
            return
        except RuntimeError:  # a fault of the kernel
            _log.exception("search index not loaded")
            return
        self._entries[key] = entry = IndexEntry(index, time.monotonic())
        self._evict_to_budget(key)
        if index.encoder_id != LEXICAL:
            await self._load_tokens(key, entry)

    async def _load_tokens(self, key: Key, entry: IndexEntry) -> None:
        def has_headroom() -> bool:
            return self._entries.get(key) is entry and self._has_headroom(entry)

        async with self._token_load_lock:
            if not has_headroom():
                return
            begun_at = await entry.begin_token_load()
            try:
                async with self._open_source(*key) as source:
                    namespace = source.namespace
                    async with entry.lock:
                        if self._entries.get(key) is entry:
                            # If it is ahead already, its changes since `begun_at` are known.
                            await self._advance(key, entry, namespace, source)
                    if has_headroom() and namespace.version >= begun_at.version:
                        await entry.load_tokens(source, has_headroom)
            except SomaBrainError as exc:
                _log.warning("token vectors not loaded", reason=exc.message)
            except RuntimeError:  # a fault of the kernel
                _log.exception("token vectors not loaded")
                self.drop(*key)
            finally:
                entry.end_token_load()

    def _has_headroom(self, entry: IndexEntry) -> bool:
        """Return whether the budget has room for the token vectors of `entry`."""
        others = self.size_bytes - entry.index.token_bytes
        return others + max(entry.index.token_bytes, entry.expected_token_bytes) <= self._budget_bytes

    def _mark_oversized(self, key: Key, index: SearchIndex) -> None:
        _log.info("search index exceeds budget", memories=index.memories, budget_bytes=self._budget_bytes)
        self._oversized[key] = index.memories
        if len(self._oversized) > MAX_OVERSIZED:
            self._oversized.popitem(last=False)

    def _evict_to_budget(self, key: Key) -> None:
        """Drop token vectors, then whole indexes, of the least recently used until the budget suffices; `key` last."""
        entries = {other: entry for other, entry in self._entries.items() if other != key}
        entries[key] = self._entries[key]
        excess = self.size_bytes - self._budget_bytes
        for entry in entries.values():
            if excess <= 0:
                return
            excess -= entry.index.token_bytes
            entry.drop_tokens()
        for other, entry in entries.items():
            if excess <= 0:
                return
            if other == key:
                self._mark_oversized(key, entry.index)
            self.drop(*other)
            excess -= entry.index.size_bytes

    def _evict_idle(self) -> None:
        """Evict the indexes that were not used for `idle_s` seconds."""
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if time.monotonic() - entry.last_used_at <= self._idle_s:
                return
            del self._entries[key]

    def drop(self, tenant: TenantId, name: NamespaceName) -> None:
        """Remove a namespace's index, if loaded."""
        self._entries.pop((tenant, name), None)
