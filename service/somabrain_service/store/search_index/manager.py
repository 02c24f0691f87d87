"""Which namespaces this process holds in memory: filled behind the calls that ask, followed by the feed, bounded.

A call never waits for a namespace to be loaded; until it is, PostgreSQL answers. What is held is brought up to the
version that a reading sees before it answers, within the reading's own snapshot. The bytes of all together stay within
a budget: who was asked longest ago makes room, and a namespace that would not fit alone is not held.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import structlog

from common.errors import SomaBrainError
from somabrain_service.domain.changes import Position
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.store.records import Statistics
from somabrain_service.store.search_index.index import SearchIndex
from somabrain_service.store.search_index.index_source import IndexSource
from somabrain_service.store.tasks import TaskSet

log = structlog.get_logger(__name__)

LOAD_PAGE_SIZE = 2_000
"""Memories that are read at once while loading."""
MAX_CATCH_UP_CHANGES = 2_000
"""Changes that are followed within one call; past them the namespace is loaded anew, behind the calls."""
MAX_OVERSIZED = 10_000
"""How many namespaces that do not fit are known."""

Key = tuple[TenantId, NamespaceName]
OpenSource = Callable[[TenantId, NamespaceName], AbstractAsyncContextManager[IndexSource]]


@dataclass(slots=True)
class _Entry:
    index: SearchIndex
    last_used_at: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class SearchIndexManager:
    """The replicas of a process, at most `budget_bytes` in all. `tasks` load them."""

    def __init__(self, budget_bytes: int, idle_s: float, open_source: OpenSource, tasks: TaskSet) -> None:
        self._budget_bytes = budget_bytes
        self._idle_s = idle_s
        self._open_source = open_source
        self._tasks = tasks
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[None]] = {}
        self._load_lock = asyncio.Lock()
        self._oversized: OrderedDict[Key, int] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """What all of them take in memory, about."""
        return sum(entry.index.size_bytes for entry in self._entries.values())

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._entries)

    def close(self) -> None:
        """Give up what is being loaded."""
        for task in self._loading.values():
            task.cancel()

    async def wait_until_loaded(self) -> None:
        """Wait until nothing is being loaded."""
        while self._loading:
            await asyncio.wait(self._loading.values())

    def peek(self, tenant: TenantId, name: NamespaceName) -> SearchIndex | None:
        """The replica as it is; None: there is none."""
        entry = self._entries.get((tenant, name))
        return None if entry is None else entry.index

    async def get_at_version(self, tenant: TenantId, namespace: Namespace, source: IndexSource) -> SearchIndex | None:
        """The replica exactly at the moment that the source sees; None: there is none, or it is ahead already."""
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
            if index.as_of != target:
                if index.as_of.epoch == target.epoch and index.as_of.version > target.version:
                    return None
                if not index.can_advance_to(namespace) or not await _catch_up(index, target, source):
                    self.drop(*key)
                    return None
                self._evict_to_budget(key)
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            entry.last_used_at = time.monotonic()
            return index

    def request_load(self, tenant: TenantId, statistics: Statistics) -> None:
        """Note that a namespace was asked for that is not held."""
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
            # Nothing is lost: PostgreSQL answers, and the next call asks again.
            log.warning("not loaded into memory", reason=exc.message)
            return
        self._entries[key] = _Entry(index, time.monotonic())
        self._evict_to_budget(key)

    def _mark_oversized(self, key: Key, index: SearchIndex) -> None:
        log.info("too large to be held in memory", memories=index.memories, budget_bytes=self._budget_bytes)
        self._oversized[key] = index.memories
        if len(self._oversized) > MAX_OVERSIZED:
            self._oversized.popitem(last=False)

    def _evict_to_budget(self, key: Key) -> None:
        """Let those go that were asked for longest ago, `key` last."""
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
        """Let those go that nobody asked for."""
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if time.monotonic() - entry.last_used_at <= self._idle_s:
                return
            del self._entries[key]

    def drop(self, tenant: TenantId, name: NamespaceName) -> None:
        """Forget a namespace that is not there any more."""
        self._entries.pop((tenant, name), None)


async def _catch_up(index: SearchIndex, target: NamespaceVersion, source: IndexSource) -> bool:
    """Bring a replica up to the moment by the feed; False: it must be loaded anew."""
    since = index.as_of
    if target.version - since.version > MAX_CATCH_UP_CHANGES:
        return False
    changes = await source.changes(Position(since.version), MAX_CATCH_UP_CHANGES + 1)
    if changes is None or len(changes) > MAX_CATCH_UP_CHANGES:
        return False
    # Versions are without gaps: one that the feed does not tell of changed what only loading anew shows.
    if len({change.position.version for change in changes}) != target.version - since.version:
        return False
    ids = sorted({int(change.name.memory) for change in changes})
    index_rows = await source.index_rows(ids, index.encoder_id)
    index.apply(ids, index_rows, target)
    return True
