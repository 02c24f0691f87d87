"""Fills the cache from the API server: before work begins, and again and again, in case a watch told less than all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

import structlog

from common.config.settings import OperatorSettings
from common.errors import NotFound, SomaBrainError
from somabrain_operator import names
from somabrain_operator.cache import Cache
from somabrain_operator.cluster.api import Cluster
from somabrain_operator.cluster.kinds import BRAIN, WATCHED
from somabrain_operator.names import Key

EVERY_S: Final = 5.0
"""How often suspects are looked for."""
_KINDS: Final = {names.KIND: BRAIN, **WATCHED}
_OURS: Final = {"app.kubernetes.io/managed-by": names.MANAGER}
_log = structlog.stdlib.get_logger("somabrain_operator.listing")


class Listing:
    """Compares what is remembered with what is there."""

    def __init__(self, cluster: Cluster, cache: Cache, wake: Callable[[Key], None], told: OperatorSettings) -> None:
        """Do nothing yet; `wake` is called with each SomaBrain of which something was not known."""
        self._cluster = cluster
        self._cache = cache
        self._wake = wake
        self._namespaces = told.namespaces or ("*",)
        self._every_s = told.resync_s

    async def filled(self) -> None:
        """Return when the cache holds what is there, however long the API server takes to answer."""
        while True:
            try:
                return await self.fill()
            except SomaBrainError as exc:
                _log.warning("waiting for the API server to list", error=exc.message)
                await asyncio.sleep(1)

    async def fill(self) -> None:
        """List everything once.

        Raises:
            SomaBrainError: it could not be listed.
        """
        for kind in _KINDS:
            await self._list(kind)

    async def run(self) -> None:
        """Look until cancelled: for suspects every few seconds, and at everything as often as the resync says."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + self._pause_s()
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self._suspects()
                if loop.time() > due_s:
                    due_s = loop.time() + self._pause_s()
                    await self.fill()
            except SomaBrainError as exc:
                _log.warning("what is remembered was not compared with what is there", error=exc.message)

    def _pause_s(self) -> float:
        return self._every_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing

    async def _list(self, kind: str) -> None:
        number = self._cache.begin(kind)
        for namespace in self._namespaces:
            labels = {} if kind == names.KIND else _OURS
            try:
                async for each in self._cluster.each(_KINDS[kind], namespace, labels):
                    self._woken(self._cache.listed(kind, number, each))
            except NotFound:
                continue  # a kind that this cluster does not know
        self._woken(self._cache.end(kind, number))

    async def _suspects(self) -> None:
        for ref in self._cache.suspects():
            found = await self._cluster.get(_KINDS[ref.kind], ref.namespace, ref.name)
            if found is None and (held := self._cache.get(*ref)) is not None:
                self._woken(self._cache.told(ref.kind, "DELETED", held))
            else:
                self._cache.cleared(ref)

    def _woken(self, keys: tuple[Key, ...]) -> None:
        for key in keys:
            self._wake(key)
