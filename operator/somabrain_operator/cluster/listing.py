"""Fills the cache from the API server: before work begins, and again and again, in case a watch told less than all."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection
from typing import Final

import structlog

from common.config.settings import OperatorSettings
from common.errors import NotFound, SomaBrainError
from somabrain_operator import names
from somabrain_operator.cache import Cache
from somabrain_operator.cluster.api import Cluster
from somabrain_operator.cluster.kinds import BRAIN, WATCHED
from somabrain_operator.names import Key

SILENT_S: Final = 1.0
"""A listing of kopf's that told of nothing for so long is over."""
LONGEST_S: Final = 3.0
"""At the start one is waited for no longer: there may be nothing to list."""
_KINDS: Final = {names.KIND: BRAIN, **WATCHED}
_OURS: Final = {"app.kubernetes.io/managed-by": names.MANAGER}
_log = structlog.stdlib.get_logger("somabrain_operator.listing")


class Listing:
    """Compares what is remembered with what is there."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        wake: Callable[[Key], None],
        told: OperatorSettings,
        unwatched: frozenset[str] = frozenset(),
    ) -> None:
        """Do nothing yet.

        Args:
            cluster: what is listed.
            cache: what is filled.
            wake: called with each SomaBrain of which something was not known.
            told: the namespaces, and how often.
            unwatched: kinds that were not there when watching began, and may come.
        """
        self._cluster = cluster
        self._cache = cache
        self._wake = wake
        self._namespaces = told.namespaces or ("*",)
        self._every_s = told.resync_period_s
        self._unwatched = unwatched
        self._unwatched_every_s = told.reference_poll_interval_s

    async def filled(self) -> None:
        """Return when the cache holds what is there, however long the API server takes to answer.

        kopf's own first listing comes before: what is deleted after it, its watches tell.
        """
        ends_at = time.monotonic() + LONGEST_S
        while not self._is_told() and time.monotonic() < ends_at:  # noqa: ASYNC110 - silence has no event
            await asyncio.sleep(SILENT_S / 10)
        while True:
            try:
                return await self.fill(_KINDS)
            except SomaBrainError as exc:
                _log.warning("waiting for the API server to list", error=exc.message)
                await asyncio.sleep(1)

    async def fill(self, kinds: Collection[str]) -> None:
        """List everything of some kinds once.

        Raises:
            SomaBrainError: it could not be listed.
        """
        self._cache.begin()
        for kind in kinds:
            await self._list(kind)
        self._woken(self._cache.end(kinds))

    async def run(self) -> None:
        """Fill it again after each listing of kopf's, and as often as the resync says, until cancelled.

        Kinds that are not watched are listed as often as references are read.
        """
        pause_s = self._every_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing
        began_s = unwatched_s = time.monotonic()
        while True:
            await asyncio.sleep(SILENT_S)
            now_s = time.monotonic()
            try:
                if (self._cache.listed_at_s > began_s and self._is_told()) or now_s > began_s + pause_s:
                    began_s = unwatched_s = now_s
                    await self.fill(_KINDS)
                elif self._unwatched and now_s > unwatched_s + self._unwatched_every_s:
                    unwatched_s = now_s
                    await self.fill(self._unwatched)
            except SomaBrainError as exc:
                _log.warning("what is remembered was not compared with what is there", error=exc.message)

    def _is_told(self) -> bool:
        """Return whether kopf has listed, and is through with it."""
        return SILENT_S < time.monotonic() - self._cache.listed_at_s < float("inf")

    async def _list(self, kind: str) -> None:
        labels = {} if kind == names.KIND else _OURS
        for namespace in self._namespaces:
            try:
                async for each in self._cluster.each(_KINDS[kind], namespace, labels):
                    self._woken(self._cache.listed(kind, each))
            except NotFound:
                continue  # a kind that this cluster does not know

    def _woken(self, keys: tuple[Key, ...]) -> None:
        for key in keys:
            self._wake(key)
