"""Relists that fill the object store: before reconciling starts, and periodically in case a watch missed an event."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection
from typing import Final

import structlog

from common.config.settings import OperatorSettings
from common.errors import NotFound, PermissionDenied, SomaBrainError
from somabrain_operator.informer.store import ObjectStore
from somabrain_operator.kube import names
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import BRAIN, WATCHED
from somabrain_operator.kube.names import Key

LIST_SETTLE_S: Final = 1.0
"""Seconds without a listed object after which a list of kopf is complete."""
INITIAL_LIST_TIMEOUT_S: Final = 3.0
"""Maximum wait for kopf's first list in seconds: it may be empty."""
_KINDS: Final = {names.KIND: BRAIN, **WATCHED}
_MANAGED_LABELS: Final = {"app.kubernetes.io/managed-by": names.MANAGER}
_log = structlog.stdlib.get_logger(__name__)


class Relister:
    """Comparison of the object store with the API server by lists."""

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
            cluster: client.
            store: the object store to fill.
            enqueue: called with each SomaBrain for which a list found a change.
            settings: the namespaces and the periods.
            unwatched: kinds that the API server did not serve when watching started, and may serve later.
        """
        self._cluster = cluster
        self._store = store
        self._enqueue = enqueue
        self._namespaces = settings.namespaces or ("*",)
        self._resync_s = settings.resync_period_s
        self._unwatched = unwatched
        self._unwatched_interval_s = settings.reference_poll_interval_s

    async def wait_for_sync(self) -> None:
        """Wait until the store has all existing objects, without a timeout.

        kopf's own first list comes before: deletions after it arrive as watch events.
        """
        deadline = time.monotonic() + INITIAL_LIST_TIMEOUT_S
        while not self._is_watch_list_settled() and time.monotonic() < deadline:  # noqa: ASYNC110 - a pause of events has no event
            await asyncio.sleep(LIST_SETTLE_S / 10)
        while True:
            try:
                return await self.relist(_KINDS)
            except SomaBrainError as exc:
                _log.warning("initial list failed; retrying", error=exc.message)
                await asyncio.sleep(1)

    async def relist(self, kinds: Collection[str]) -> None:
        """List all objects of some kinds once, and enqueue the SomaBrains of changed ones.

        Raises:
            SomaBrainError: a list failed.
        """
        self._store.begin_resync()
        refused = [each for kind in kinds for each in await self._list(kind)]
        self._enqueue_all(self._store.finish_resync(kinds, refused))

    async def run(self) -> None:
        """Relist after each list of kopf and once per resync period, until cancelled.

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
                _log.warning("relist failed", error=exc.message)

    def _is_watch_list_settled(self) -> bool:
        """Return whether kopf has listed and the list is complete."""
        return LIST_SETTLE_S < time.monotonic() - self._store.listed_at_s < float("inf")

    async def _list(self, kind: str) -> list[tuple[str, str]]:
        """List a kind in each namespace; return the kind with each namespace in which that is not permitted.

        Its watch reports that. One namespace of many may be deleted, and with it the operator's Role in it.
        """
        labels, refused = {} if kind == names.KIND else _MANAGED_LABELS, []
        for namespace in self._namespaces:
            try:
                async for each in self._cluster.list_paged(_KINDS[kind], namespace, labels):
                    self._enqueue_all(self._store.on_listed(kind, each))
            except NotFound:
                continue  # a kind that this cluster does not serve
            except PermissionDenied:
                refused.append((kind, namespace))
        return refused

    def _enqueue_all(self, keys: tuple[Key, ...]) -> None:
        for key in keys:
            self._enqueue(key)
