"""Polling of referenced Secrets and ConfigMaps: Secrets are never listed or watched, so a change has no event."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from common.errors import SomaBrainError
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.names import Key
from somabrain_operator.references.resolved import ResolvedReference
from somabrain_operator.references.resolver import resolve

_log = structlog.stdlib.get_logger("somabrain_operator.references.poller")

READS_PER_S: Final = 30
"""Target rate of reads, at about a millisecond of the API server each. Jitter, which only shortens intervals, makes it
some 40 per second; `max_interval_s` may require more."""
MIN_INTERVAL_S: Final = 5.0
TICK_S: Final = 0.1
"""Interval of checks for due entries: those due at once are read together, and an edit waits behind them."""


def poll_interval_s(reference_count: int, max_interval_s: float) -> float:
    """Return the seconds within which each resource's references are read.

    Few are read often, so that a deletion is noticed in seconds; many every `max_interval_s`, which bounds the cost.
    """
    return min(max_interval_s, max(MIN_INTERVAL_S, reference_count / READS_PER_S))


@dataclass(frozen=True, slots=True)
class _Entry:
    """References of one SomaBrain as of its last reconcile."""

    uid: str
    resolved: tuple[ResolvedReference, ...]
    due_at_s: float
    """Time of the next read, by the monotonic clock."""


class ReferencePoller:
    """Poller that enqueues a key when a Secret or ConfigMap appears, disappears or is denied, or a used key changes."""

    def __init__(self, cluster: Cluster, max_interval_s: float) -> None:
        """Read each resource's references at least every `max_interval_s`."""
        self._cluster = cluster
        self._max_interval_s = max_interval_s
        self._interval_s = poll_interval_s(0, max_interval_s)
        self._entries: dict[Key, _Entry] = {}

    def track(self, key: Key, uid: str, resolved: tuple[ResolvedReference, ...]) -> None:
        """Store the references that a reconcile of the SomaBrain with this uid has used."""
        self._entries[key] = _Entry(uid, _without_secrets(resolved), self._next_due_at_s())

    def untrack(self, key: Key) -> None:
        """Stop reading a key's references."""
        self._entries.pop(key, None)

    async def run(self, enqueue: Callable[[Key], None]) -> None:
        """Read references as they become due, which spreads the load on the API server, until cancelled."""
        while True:
            self._interval_s = poll_interval_s(
                sum(len(entry.resolved) for entry in self._entries.values()), self._max_interval_s
            )
            await asyncio.sleep(TICK_S)
            for key, entry in list(self._entries.items()):
                if (
                    entry.due_at_s <= time.monotonic() and self._entries.get(key) is entry
                ):  # it may have been reconciled since
                    self._entries[key] = replace(entry, due_at_s=self._next_due_at_s())
                    await self._poll(key, entry, enqueue)

    def _next_due_at_s(self) -> float:
        return time.monotonic() + self._interval_s * random.uniform(0.5, 0.9)  # noqa: S311 - spreads load, guards nothing

    async def _poll(self, key: Key, entry: _Entry, enqueue: Callable[[Key], None]) -> None:
        references = [each.reference for each in entry.resolved]
        try:
            # A stale read enqueues a key for nothing or is corrected by the next poll; reconciles read the newest.
            resolved = _without_secrets(await resolve(self._cluster, key, entry.uid, references, newest=False))
        except SomaBrainError as exc:
            _log.warning("failed to read references", namespace=key.namespace, name=key.name, error=exc.message)
            return
        if resolved != entry.resolved:
            enqueue(key)


def _without_secrets(resolved: tuple[ResolvedReference, ...]) -> tuple[ResolvedReference, ...]:
    """Return the references without contents: hashes suffice to compare them, and secrets are not stored."""
    return tuple(replace(each, secrets=()) for each in resolved)
