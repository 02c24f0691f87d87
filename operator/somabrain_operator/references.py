"""Reads what SomaBrains refer to again and again: Secrets are never listed or watched, so nobody tells of a change."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping

import structlog

from common.errors import SomaBrainError
from somabrain_operator.cluster.api import Cluster
from somabrain_operator.cluster.observe import resolve
from somabrain_operator.names import Key
from somabrain_operator.observed import Brain, Observed, Resolved

_log = structlog.stdlib.get_logger("somabrain_operator.references")


class ReferenceWatch:
    """Wakes a key when a used key of a Secret or ConfigMap has another content."""

    def __init__(self, cluster: Cluster, every_s: float) -> None:
        """Look at each resource's references at least once in `every_s`."""
        self._cluster = cluster
        self._every_s = every_s
        self._seen: dict[Key, tuple[Brain, Mapping[str, Mapping[str, str]]]] = {}

    def remember(self, observed: Observed) -> None:
        """Keep what a reconcile has acted upon."""
        self._seen[observed.brain.key] = observed.brain, _digests(observed.references)

    def forget(self, key: Key) -> None:
        """Look at a key's references no more."""
        self._seen.pop(key, None)

    async def run(self, wake: Callable[[Key], None]) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._every_s * random.uniform(0.7, 0.9))  # noqa: S311 - spreads load, guards nothing
            for key, (brain, digests) in list(self._seen.items()):
                try:
                    found = _digests(await resolve(self._cluster, brain))
                except SomaBrainError as exc:
                    _log.warning("references not read", namespace=key.namespace, name=key.name, error=exc.message)
                    continue
                if found != digests:
                    wake(key)


def _digests(references: tuple[Resolved, ...]) -> Mapping[str, Mapping[str, str]]:
    return {each.reference.field: dict(each.digests) for each in references}
