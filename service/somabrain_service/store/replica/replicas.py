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
from somabrain_service.domain.feed import Position
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.tokens import Moment
from somabrain_service.store.records import Statistics
from somabrain_service.store.replica.portion import Source
from somabrain_service.store.replica.replica import Replica
from somabrain_service.store.tasks import TaskSet

log = structlog.get_logger(__name__)

PAGE = 2_000
"""Memories that are read at once while loading."""
FOLLOWED = 2_000
"""Changes that are followed within one call; past them the namespace is loaded anew, behind the calls."""
REFUSALS = 10_000
"""How many namespaces that do not fit are known."""

Key = tuple[TenantId, NamespaceName]
Open = Callable[[TenantId, NamespaceName], AbstractAsyncContextManager[Source]]


@dataclass(slots=True)
class _Held:
    replica: Replica
    asked_at: float
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Replicas:
    """The replicas of a process, at most `budget_bytes` in all. `tasks` load them."""

    def __init__(self, budget_bytes: int, idle_s: float, open_source: Open, tasks: TaskSet) -> None:
        self._budget_bytes = budget_bytes
        self._idle_s = idle_s
        self._open = open_source
        self._tasks = tasks
        self._held: OrderedDict[Key, _Held] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[None]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._too_large: OrderedDict[Key, int] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """What all of them take in memory, about."""
        return sum(held.replica.size_bytes for held in self._held.values())

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._held)

    def close(self) -> None:
        """Give up what is being loaded."""
        for task in self._loading.values():
            task.cancel()

    async def settle(self) -> None:
        """Wait until nothing is being loaded."""
        while self._loading:
            await asyncio.wait(self._loading.values())

    def held(self, tenant: TenantId, name: NamespaceName) -> Replica | None:
        """The replica as it is; None: there is none."""
        held = self._held.get((tenant, name))
        return None if held is None else held.replica

    async def at(self, tenant: TenantId, namespace: Namespace, source: Source) -> Replica | None:
        """The replica exactly at the moment that the source sees; None: there is none, or it is ahead already."""
        self._forget_idle()
        key = (tenant, namespace.name)
        held = self._held.get(key)
        if held is None:
            return None
        moment = namespace.moment
        async with held.turn:
            replica = held.replica
            if self._held.get(key) is not held:
                return None
            if replica.moment != moment:
                if replica.moment.epoch == moment.epoch and replica.moment.version > moment.version:
                    return None
                if not replica.suits(namespace) or not await _follow(replica, moment, source):
                    self.drop(*key)
                    return None
                self._make_room(key)
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            held.asked_at = time.monotonic()
            return replica

    def want(self, tenant: TenantId, seen: Statistics) -> None:
        """Note that a namespace was asked for that is not held."""
        key = (tenant, seen.namespace.name)
        if key in self._held or key in self._loading:
            return
        if self._too_large.get(key, seen.memories + 1) <= seen.memories:
            return
        task = self._tasks.start(self._load(key))
        self._loading[key] = task
        task.add_done_callback(lambda _: self._loading.pop(key))

    async def _load(self, key: Key) -> None:
        try:
            async with self._one_at_a_time, self._open(*key) as source:
                namespace = source.namespace
                replica = Replica(namespace)
                after = -1
                while ids := await source.identifiers(after, PAGE):
                    portion = await source.portion(ids, replica.encoder_id)
                    await asyncio.to_thread(replica.apply, (), portion, replica.moment)
                    after = ids[-1]
                    if replica.size_bytes > self._budget_bytes:
                        self._refuse(key, replica)
                        return
        except SomaBrainError as exc:
            # Nothing is lost: PostgreSQL answers, and the next call asks again.
            log.warning("not loaded into memory", reason=exc.message)
            return
        self._held[key] = _Held(replica, time.monotonic())
        self._make_room(key)

    def _refuse(self, key: Key, replica: Replica) -> None:
        log.info("too large to be held in memory", memories=replica.memories, budget_bytes=self._budget_bytes)
        self._too_large[key] = replica.memories
        if len(self._too_large) > REFUSALS:
            self._too_large.popitem(last=False)

    def _make_room(self, key: Key) -> None:
        """Let those go that were asked for longest ago, `key` last."""
        sizes = {held: self._held[held].replica.size_bytes for held in self._held}
        total = sum(sizes.values())
        for other in [*(k for k in sizes if k != key), key]:
            if total <= self._budget_bytes:
                return
            if other == key:
                self._refuse(key, self._held[key].replica)
            self.drop(*other)
            total -= sizes[other]

    def _forget_idle(self) -> None:
        """Let those go that nobody asked for."""
        while self._held:
            key, held = next(iter(self._held.items()))
            if time.monotonic() - held.asked_at <= self._idle_s:
                return
            del self._held[key]

    def drop(self, tenant: TenantId, name: NamespaceName) -> None:
        """Forget a namespace that is not there any more."""
        self._held.pop((tenant, name), None)


async def _follow(replica: Replica, moment: Moment, source: Source) -> bool:
    """Bring a replica up to the moment by the feed; False: it must be loaded anew."""
    since = replica.moment
    if moment.version - since.version > FOLLOWED:
        return False
    changes = await source.changes(Position(since.version), FOLLOWED + 1)
    if changes is None or len(changes) > FOLLOWED:
        return False
    # Versions are without gaps: one that the feed does not tell of changed what only loading anew shows.
    if len({change.position.version for change in changes}) != moment.version - since.version:
        return False
    ids = sorted({int(change.name.memory) for change in changes})
    portion = await source.portion(ids, replica.encoder_id)
    replica.apply(ids, portion, moment)
    return True
