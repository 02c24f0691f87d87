"""Search indexes of this process: loaded in the background, updated from the change feed, within a memory budget.

A call never waits for an index to be loaded; until it is, PostgreSQL answers. An index catches up with the version of a
snapshot before it answers, by changes read in that same snapshot. The size of all indexes stays within a budget: the
least recently used one is evicted, and a namespace that exceeds the budget alone is not indexed.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from common.errors import SomaBrainError
from somabrain_service.domain.changes import Position
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.store.index_source import IndexSource
from somabrain_service.store.records import Statistics
from somabrain_service.store.search_index.index import SearchIndex
from somabrain_service.store.search_index.threads import SearchThreads
from somabrain_service.store.tasks import TaskSet

log = structlog.get_logger(__name__)

LOAD_PAGE_SIZE = 2_000
"""Number of memories per query while loading."""
MAX_CATCH_UP_CHANGES = 2_000
"""Maximum changes applied within one call; beyond them the index is loaded again in the background."""
MAX_OVERSIZED = 10_000
"""Maximum number of oversized namespaces that are remembered."""

Key = tuple[TenantId, NamespaceName]
OpenSource = Callable[[TenantId, NamespaceName], AbstractAsyncContextManager[IndexSource]]


@dataclass(frozen=True, slots=True)
class AssumedIndex:
    """An index, and its namespace as it was when PostgreSQL last had the index's version."""

    index: SearchIndex
    namespace: Namespace


@dataclass(slots=True)
class _Entry:
    index: SearchIndex
    last_used_at: float
    unchanged: Namespace | None = None
    """The namespace, if the last call saw it at the index's version: the next one may assume that. None: doubted."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


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
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[None]] = {}
        self._load_lock = asyncio.Lock()
        self._oversized: OrderedDict[Key, int] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Approximate size of all indexes in memory."""
        return sum(entry.index.size_bytes for entry in self._entries.values())

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

        A namespace that is written between calls is not worth an assumption, which would cost its search twice.
        """
        self._evict_idle()
        entry = self._entries.get((tenant, name))
        if entry is None or entry.unchanged is None or entry.index.as_of != entry.unchanged.read_version:
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
            index = entry.index
            if self._entries.get(key) is not entry:
                return None
            entry.unchanged = namespace if index.as_of == target else None
            if index.as_of != target:
                if index.as_of.epoch == target.epoch and index.as_of.version > target.version:
                    return None
                try:
                    caught_up = index.can_advance_to(namespace) and await _catch_up(index, target, source)
                except BaseException:
                    self.drop(*key)  # cancelled, say: its thread may still be at work, and nobody would wait for it
                    raise
                if not caught_up:
                    self.drop(*key)
                    return None
                self._evict_to_budget(key)
            if key not in self._entries:
                return None
            # Memories that the index has as expired may have been renewed, which changes no version.
            if ids := index.unconfirmed(now):
                index.confirm(await source.expiries(ids), now)
            self._touch(key, entry)
            return index

    def _touch(self, key: Key, entry: _Entry) -> None:
        self._entries.move_to_end(key)
        entry.last_used_at = time.monotonic()

    def request_load(self, tenant: TenantId, statistics: Statistics) -> None:
        """Start to load a namespace's index, unless loaded, loading or oversized."""
        key = (tenant, statistics.namespace.name)
        if key in self._entries or key in self._loading:
            return
        if self._oversized.get(key, statistics.memories + 1) <= statistics.memories:
            return
        task = self._tasks.start(self._load(key))
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
            log.warning("search index not loaded", reason=exc.message)
            return
        except RuntimeError:  # a fault of the kernel
            log.exception("search index not loaded")
            return
        self._entries[key] = _Entry(index, time.monotonic())
        self._evict_to_budget(key)

    def _mark_oversized(self, key: Key, index: SearchIndex) -> None:
        log.info("search index exceeds budget", memories=index.memories, budget_bytes=self._budget_bytes)
        self._oversized[key] = index.memories
        if len(self._oversized) > MAX_OVERSIZED:
            self._oversized.popitem(last=False)

    def _evict_to_budget(self, key: Key) -> None:
        """Evict the least recently used indexes until the budget suffices; `key` last."""
        sizes = {candidate: self._entries[candidate].index.size_bytes for candidate in self._entries}
        total = sum(sizes.values())
        for other in [*(k for k in sizes if k != key), key]:
            if total <= self._budget_bytes:
                return
            if other == key:
                self._mark_oversized(key, self._entries[key].index)
            self.drop(*other)
            total -= sizes[other]

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


async def _catch_up(index: SearchIndex, target: NamespaceVersion, source: IndexSource) -> bool:
    """Advance an index to the target version by the feed; False: it must be loaded again."""
    since = index.as_of
    if target.version - since.version > MAX_CATCH_UP_CHANGES:
        return False
    changes = await source.changes(Position(since.version), MAX_CATCH_UP_CHANGES + 1)
    if changes is None or len(changes) > MAX_CATCH_UP_CHANGES:
        return False
    # Versions have no gaps: one without a change in the feed needs the index to be loaded again.
    if len({change.position.version for change in changes}) != target.version - since.version:
        return False
    ids = sorted({int(change.name.memory) for change in changes})
    index_rows = await source.index_rows(ids, index.encoder_id)
    try:
        await asyncio.to_thread(index.apply, ids, index_rows, target)  # it waits for the searches at work
    except RuntimeError:  # a fault of the kernel, after which the index is in an unknown state
        log.exception("search index not updated")
        return False
    return True
