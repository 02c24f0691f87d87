"""Reads what SomaBrains refer to again and again: Secrets are never listed or watched, so nobody tells of a change."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from common.errors import SomaBrainError
from somabrain_operator.cluster.client import Cluster
from somabrain_operator.cluster.observe import resolve
from somabrain_operator.names import Key
from somabrain_operator.observed_state import ObservedState, ResolvedReference

_log = structlog.stdlib.get_logger("somabrain_operator.reference_poller")

READS_PER_S: Final = 30
"""From it follows the pace: a read costs the API server about a millisecond. Jitter, which only shortens, makes it some
40 a second; more are read where `longest_s` asks for it."""
MIN_INTERVAL_S: Final = 5.0
TICK_S: Final = 0.1
"""So often it is seen which are due: those of one moment are looked at together, and an edit waits behind them."""


def poll_interval_s(reference_count: int, max_interval_s: float) -> float:
    """Return the seconds within which each resource's references are looked at.

    Few are looked at often, so that what is gone is known in seconds; many at `longest_s`, so that it costs no more.
    """
    return min(max_interval_s, max(MIN_INTERVAL_S, reference_count / READS_PER_S))


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a reconcile has acted upon."""

    uid: str
    resolved: tuple[ResolvedReference, ...]
    due_at_s: float
    """When it is looked at again."""


class ReferencePoller:
    """Wakes a key when a Secret or ConfigMap comes, goes or is forbidden, or when a used key has another content."""

    def __init__(self, cluster: Cluster, max_interval_s: float) -> None:
        """Look at each resource's references at least once in `longest_s`."""
        self._cluster = cluster
        self._max_interval_s = max_interval_s
        self._interval_s = poll_interval_s(0, max_interval_s)
        self._entries: dict[Key, _Entry] = {}

    def track(self, observed: ObservedState) -> None:
        """Keep what a reconcile has acted upon."""
        self._entries[observed.brain.key] = _Entry(
            observed.brain.uid, _without_secrets(observed.references), self._next_due_at_s()
        )

    def untrack(self, key: Key) -> None:
        """Look at a key's references no more."""
        self._entries.pop(key, None)

    async def run(self, enqueue: Callable[[Key], None]) -> None:
        """Look until cancelled, at each when it is due, so that the API server has as much to do at any time."""
        while True:
            self._interval_s = poll_interval_s(
                sum(len(entry.resolved) for entry in self._entries.values()), self._max_interval_s
            )
            await asyncio.sleep(TICK_S)
            for key, entry in list(self._entries.items()):
                if (
                    entry.due_at_s <= time.monotonic() and self._entries.get(key) is entry
                ):  # it may have been acted upon since
                    self._entries[key] = replace(entry, due_at_s=self._next_due_at_s())
                    await self._poll(key, entry, enqueue)

    def _next_due_at_s(self) -> float:
        return time.monotonic() + self._interval_s * random.uniform(0.5, 0.9)  # noqa: S311 - spreads load, guards nothing

    async def _poll(self, key: Key, entry: _Entry, enqueue: Callable[[Key], None]) -> None:
        references = [each.reference for each in entry.resolved]
        try:
            # What is old here wakes a key for nothing, or is seen at the next look; what is acted upon is read anew.
            resolved = _without_secrets(await resolve(self._cluster, key, entry.uid, references, newest=False))
        except SomaBrainError as exc:
            _log.warning("references not read", namespace=key.namespace, name=key.name, error=exc.message)
            return
        if resolved != entry.resolved:
            enqueue(key)


def _without_secrets(resolved: tuple[ResolvedReference, ...]) -> tuple[ResolvedReference, ...]:
    """Return what was found without the contents: they are told apart by their hashes and not kept."""
    return tuple(replace(each, secrets=()) for each in resolved)
