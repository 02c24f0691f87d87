"""Polling of referenced Secrets and ConfigMaps that are not watched, or whose watch may have missed an event."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

import structlog

from common.errors import SomaBrainError
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import ALL_NAMESPACES
from somabrain_operator.kube.names import Key
from somabrain_operator.references.resolver import resolve
from somabrain_operator.references.tracked import TrackedReferences, without_secrets
from somabrain_operator.references.watcher import ReferenceWatcher

_log = structlog.stdlib.get_logger(__name__)

READS_PER_S: Final = 30
"""Target rate of reads, at about a millisecond of the API server each. Jitter, which only shortens intervals, makes it
some 40 per second; `max_interval_s` may require more."""
MIN_INTERVAL_S: Final = 5.0
TICK_S: Final = 0.1
"""Interval of checks for due resources: those due at once are read together, and an edit waits behind them."""
COUNT_INTERVAL_S: Final = 1.0
"""Interval of counts of the references that are polled."""
IDLE_TICK_S: Final = 1.0
"""Interval of checks whether anything is to be polled at all."""


def poll_interval_s(reference_count: int, max_interval_s: float) -> float:
    """Return the seconds within which each resource's references are read.

    Few are read often, so that a deletion is noticed in seconds; many every `max_interval_s`, which bounds the cost.
    """
    return min(max_interval_s, max(MIN_INTERVAL_S, reference_count / READS_PER_S))


class ReferencePoller:
    """Poller that enqueues a key when a Secret or ConfigMap appears, disappears or is denied, or a used key changes."""

    def __init__(
        self, cluster: Cluster, tracked: TrackedReferences, watcher: ReferenceWatcher, max_interval_s: float
    ) -> None:
        """Read the references that the watcher does not cover at least every `max_interval_s`."""
        self._cluster = cluster
        self._tracked = tracked
        self._watcher = watcher
        self._max_interval_s = max_interval_s
        self._interval_s = poll_interval_s(0, max_interval_s)
        self._counted_at_s = float("-inf")
        self._due_at_s: dict[Key, float] = {}
        """Time of the next read by the monotonic clock."""
        self._read_once: set[Key] = set()

    def read_once(self, namespace: str) -> None:
        """Read the references of a namespace, or of all (`*`), once although they are watched, spread over time."""
        keys = [each for each in self._tracked.keys if namespace in (ALL_NAMESPACES, each.namespace)]
        interval_s = poll_interval_s(self._count(keys), self._max_interval_s)
        for key in keys:
            self._read_once.add(key)
            self._due_at_s[key] = time.monotonic() + interval_s * random.random()  # noqa: S311 - spreads load, guards nothing

    async def run(self, enqueue: Callable[[Key], None]) -> None:
        """Read references as they become due, which spreads the load on the API server, until cancelled."""
        while True:
            if self._watcher.covers_all() and not self._read_once:
                self._due_at_s.clear()
                await asyncio.sleep(IDLE_TICK_S)
                continue
            await asyncio.sleep(TICK_S)
            self._update_interval()
            for key in self._tracked.keys - self._due_at_s.keys():
                self._schedule(key)
            now_s = time.monotonic()
            for key in [key for key, due_at_s in self._due_at_s.items() if due_at_s <= now_s]:
                if key not in self._tracked.keys:
                    del self._due_at_s[key]
                    self._read_once.discard(key)
                    continue
                self._schedule(key)
                if key in self._read_once or not self._is_covered(key):
                    await self._poll(key, enqueue)

    def _update_interval(self) -> None:
        """Set the interval by the number of references that are polled; counting all of them is not for every tick."""
        if time.monotonic() - self._counted_at_s > COUNT_INTERVAL_S:
            self._counted_at_s = time.monotonic()
            polled = [key for key in self._tracked.keys if not self._is_covered(key)]
            self._interval_s = poll_interval_s(self._count(polled), self._max_interval_s)

    def _schedule(self, key: Key) -> None:
        self._due_at_s[key] = time.monotonic() + self._interval_s * random.uniform(0.5, 0.9)  # noqa: S311 - spreads load, guards nothing

    def _count(self, keys: list[Key]) -> int:
        return sum(len(each.resolved) for key in keys if (each := self._tracked.get(key)))

    def _is_covered(self, key: Key) -> bool:
        resource = self._tracked.get(key)
        return resource is None or all(self._watcher.covers(each.kind, each.namespace) for each in resource.versions)

    async def _poll(self, key: Key, enqueue: Callable[[Key], None]) -> None:
        resource = self._tracked.get(key)
        if resource is None:
            return
        references = [each.reference for each in resource.resolved]
        try:
            # A stale read enqueues a key for nothing or is corrected by the next poll; reconciles read the newest.
            is_once = key in self._read_once
            resolved = without_secrets(await resolve(self._cluster, key, resource.uid, references, newest=is_once))
        except SomaBrainError as exc:
            _log.warning("failed to read references", namespace=key.namespace, name=key.name, error=exc.message)
            return
        self._read_once.discard(key)
        if resolved != resource.resolved and self._tracked.get(key) is resource:  # else it was reconciled since
            enqueue(key)
