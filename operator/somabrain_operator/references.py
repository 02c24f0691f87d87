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
from somabrain_operator.cluster.api import Cluster
from somabrain_operator.cluster.observe import resolve
from somabrain_operator.names import Key
from somabrain_operator.observed import Observed, Resolved

_log = structlog.stdlib.get_logger("somabrain_operator.references")

READS_PER_S: Final = 30
"""From it follows the pace: a read costs the API server about a millisecond. Jitter, which only shortens, makes it some
40 a second; more are read where `longest_s` asks for it."""
SHORTEST_S: Final = 5.0
TICK_S: Final = 0.1
"""So often it is seen which are due: those of one moment are looked at together, and an edit waits behind them."""


def pace_s(references: int, longest_s: float) -> float:
    """Return the seconds within which each resource's references are looked at.

    Few are looked at often, so that what is gone is known in seconds; many at `longest_s`, so that it costs no more.
    """
    return min(longest_s, max(SHORTEST_S, references / READS_PER_S))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a reconcile has acted upon."""

    uid: str
    found: tuple[Resolved, ...]
    due_s: float
    """When it is looked at again."""


class ReferenceWatch:
    """Wakes a key when a Secret or ConfigMap comes, goes or is forbidden, or when a used key has another content."""

    def __init__(self, cluster: Cluster, longest_s: float) -> None:
        """Look at each resource's references at least once in `longest_s`."""
        self._cluster = cluster
        self._longest_s = longest_s
        self._pace_s = pace_s(0, longest_s)
        self._seen: dict[Key, _Seen] = {}

    def remember(self, observed: Observed) -> None:
        """Keep what a reconcile has acted upon."""
        self._seen[observed.brain.key] = _Seen(observed.brain.uid, _shown(observed.references), self._due_s())

    def forget(self, key: Key) -> None:
        """Look at a key's references no more."""
        self._seen.pop(key, None)

    async def run(self, wake: Callable[[Key], None]) -> None:
        """Look until cancelled, at each when it is due, so that the API server has as much to do at any time."""
        while True:
            self._pace_s = pace_s(sum(len(seen.found) for seen in self._seen.values()), self._longest_s)
            await asyncio.sleep(TICK_S)
            for key, seen in list(self._seen.items()):
                if seen.due_s <= time.monotonic() and self._seen.get(key) is seen:  # it may have been acted upon since
                    self._seen[key] = replace(seen, due_s=self._due_s())
                    await self._look(key, seen, wake)

    def _due_s(self) -> float:
        return time.monotonic() + self._pace_s * random.uniform(0.5, 0.9)  # noqa: S311 - spreads load, guards nothing

    async def _look(self, key: Key, seen: _Seen, wake: Callable[[Key], None]) -> None:
        wanted = [each.reference for each in seen.found]
        try:
            # What is old here wakes a key for nothing, or is seen at the next look; what is acted upon is read anew.
            found = _shown(await resolve(self._cluster, key, seen.uid, wanted, newest=False))
        except SomaBrainError as exc:
            _log.warning("references not read", namespace=key.namespace, name=key.name, error=exc.message)
            return
        if found != seen.found:
            wake(key)


def _shown(found: tuple[Resolved, ...]) -> tuple[Resolved, ...]:
    """Return what was found without the contents: they are told apart by their hashes and not kept."""
    return tuple(replace(each, secrets=()) for each in found)
