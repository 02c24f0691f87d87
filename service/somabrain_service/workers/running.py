"""Runs background work: one holder a shard, round after round, with a back-off when it fails.

Every process tries; whoever gets the shard's lock in PostgreSQL works until it stops, fails or loses its connection,
and then another one takes over. No failure of background work ever ends the process that serves calls.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from common.errors import SomaBrainError
from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import MaintenanceStore, Shard, WorkerStore
from somabrain_service.workers.protocols import Round, Worker

STANDBY_S = 5.0
"""How soon a process tries to take over a shard that another one holds, and asks again whether it may work."""
REST_SHARE = 9
"""A round that leaves nothing to do is followed by so many times its length of rest at least: looking for work takes a
tenth of the time at most, however many namespaces there are."""
FIRST_BACKOFF_S = 1.0
LAST_BACKOFF_S = 30.0

_log = structlog.get_logger(__name__)


class Duty:
    """One work in one shard, as one process tries to do it.

    `may_work`: whether this process may touch the database now; false while its schema is not this version's.
    """

    def __init__(
        self, worker: Worker, shard: Shard, store: WorkerStore, metrics: Metrics, may_work: Callable[[], bool]
    ) -> None:
        self._worker, self._shard, self._store = worker, shard, store
        self._metrics, self._may_work = metrics, may_work
        self._labels = (worker.name, str(shard.number))
        self._log = _log.bind(work=worker.name, shard=shard.number)
        self._failures = 0
        metrics.worker_holds.labels(*self._labels).set(0)

    async def run(self) -> None:
        """Hold the shard whenever nobody else does, and work in it. Until cancelled."""
        while True:
            try:
                if self._may_work():
                    await self._hold()
            except Exception as exc:  # noqa: BLE001 - the boundary of background work: calls are served whatever happens
                await asyncio.sleep(self._failed(exc))
            else:
                await asyncio.sleep(STANDBY_S * random.uniform(0.5, 1))  # noqa: S311 - spreads processes; no secret

    async def _hold(self) -> None:
        """Work as long as the shard is held; not at all while somebody else holds it."""
        async with self._store.acquire(self._worker.name, self._shard) as held:
            if held is None:
                self._metrics.worker_lag.labels(*self._labels).set(0)
                return
            self._log.info("holds background work")
            self._metrics.worker_holds.labels(*self._labels).set(1)
            try:
                while self._may_work():
                    started = time.perf_counter()
                    done = await self._round(held)
                    took_s = time.perf_counter() - started
                    await asyncio.sleep(0 if done.more else max(self._worker.rest_s, REST_SHARE * took_s))
            finally:
                self._metrics.worker_holds.labels(*self._labels).set(0)
                self._log.info("no longer holds background work")

    async def _round(self, held: MaintenanceStore) -> Round:
        started, outcome = time.perf_counter(), "failed"
        try:
            done = await self._worker.round(held)
            outcome = "done" if done.failure is None else "failed"
        finally:
            self._metrics.worker_rounds.labels(self._worker.name, outcome).inc()
            self._metrics.worker_seconds.labels(self._worker.name).observe(time.perf_counter() - started)
        self._metrics.worker_rows.labels(self._worker.name).inc(done.rows)
        self._metrics.worker_lag.labels(*self._labels).set(done.lag_s)
        if done.failure is not None:
            raise done.failure
        self._failures = 0
        return done

    def _failed(self, exc: Exception) -> float:
        """Say so, and return how long to wait."""
        self._failures += 1
        wait_s = backoff_s(self._failures, random.random())  # noqa: S311 - as above
        ours = isinstance(exc, SomaBrainError)
        self._log.warning(
            "background work failed",
            reason=exc.message if isinstance(exc, SomaBrainError) else type(exc).__name__,
            cause=str(exc.__cause__) if ours and exc.__cause__ else None,
            failures=self._failures,
            again_in_s=round(wait_s, 1),
            exc_info=None if ours else exc,
        )
        return wait_s


def backoff_s(failures: int, share: float) -> float:
    """How long to wait after so many failures in a row; `share` in [0, 1) spreads it over the second half."""
    doubled = FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 32)
    return min(doubled, LAST_BACKOFF_S) * (0.5 + 0.5 * share)
