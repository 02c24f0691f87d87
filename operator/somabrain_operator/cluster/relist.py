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
from somabrain_operator.cluster.client import Cluster
from somabrain_operator.cluster.kinds import BRAIN, WATCHED
from somabrain_operator.names import Key
from somabrain_operator.object_store import ObjectStore

LIST_SETTLE_S: Final = 1.0
"""A listing of kopf's that told of nothing for so long is over."""
INITIAL_LIST_TIMEOUT_S: Final = 3.0
"""At the start one is waited for no longer: there may be nothing to list."""
_KINDS: Final = {names.KIND: BRAIN, **WATCHED}
_MANAGED_LABELS: Final = {"app.kubernetes.io/managed-by": names.MANAGER}
_log = structlog.stdlib.get_logger("somabrain_operator.listing")


class Relister:
    """Compares what is remembered with what is there."""

    def __init__(
        self,
        cluster: Cluster,
        store: ObjectStore,
        enqueue: Callable[[Key], None],
        settings: OperatorSettings,
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
        self._store = store
        self._enqueue = enqueue
        self._namespaces = settings.namespaces or ("*",)
        self._resync_s = settings.resync_period_s
        self._unwatched = unwatched
        self._unwatched_interval_s = settings.reference_poll_interval_s

    async def wait_for_sync(self) -> None:
        """Return when the cache holds what is there, however long the API server takes to answer.

        kopf's own first listing comes before: what is deleted after it, its watches tell.
        """
        deadline = time.monotonic() + INITIAL_LIST_TIMEOUT_S
        while not self._is_watch_list_settled() and time.monotonic() < deadline:  # noqa: ASYNC110 - silence has no event
            await asyncio.sleep(LIST_SETTLE_S / 10)
        while True:
            try:
                return await self.relist(_KINDS)
            except SomaBrainError as exc:
                _log.warning("waiting for the API server to list", error=exc.message)
                await asyncio.sleep(1)

    async def relist(self, kinds: Collection[str]) -> None:
        """List everything of some kinds once.

        Raises:
            SomaBrainError: it could not be listed.
        """
        self._store.begin_resync()
        for kind in kinds:
            await self._list(kind)
        self._enqueue_all(self._store.finish_resync(kinds))

    async def run(self) -> None:
        """Fill it again after each listing of kopf's, and as often as the resync says, until cancelled.

        Kinds that are not watched are listed as often as references are read.
        """
        interval_s = self._resync_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing
        relisted_at_s = unwatched_relisted_at_s = time.monotonic()
        while True:
            await asyncio.sleep(LIST_SETTLE_S)
            now_s = time.monotonic()
            try:
                if (
                    self._store.listed_at_s > relisted_at_s and self._is_watch_list_settled()
                ) or now_s > relisted_at_s + interval_s:
                    relisted_at_s = unwatched_relisted_at_s = now_s
                    await self.relist(_KINDS)
                elif self._unwatched and now_s > unwatched_relisted_at_s + self._unwatched_interval_s:
                    unwatched_relisted_at_s = now_s
                    await self.relist(self._unwatched)
            except SomaBrainError as exc:
                _log.warning("what is remembered was not compared with what is there", error=exc.message)

    def _is_watch_list_settled(self) -> bool:
        """Return whether kopf has listed, and is through with it."""
        return LIST_SETTLE_S < time.monotonic() - self._store.listed_at_s < float("inf")

    async def _list(self, kind: str) -> None:
        labels = {} if kind == names.KIND else _MANAGED_LABELS
        for namespace in self._namespaces:
            try:
                async for each in self._cluster.list_paged(_KINDS[kind], namespace, labels):
                    self._enqueue_all(self._store.on_listed(kind, each))
            except NotFound:
                continue  # a kind that this cluster does not know

    def _enqueue_all(self, keys: tuple[Key, ...]) -> None:
        for key in keys:
            self._enqueue(key)
