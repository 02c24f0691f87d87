"""Runs background jobs: one leader per job and shard, run after run, with back-off after failures.

Every process tries to acquire the shard's lock in PostgreSQL; the one that has it runs the job until it stops, fails or
loses its connection, and then another one takes over. No failure of a job ever ends the process that serves calls.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from common.aio.backoff import Backoff
from common.errors import SomaBrainError
from somabrain_service.background.job import BatchResult, Job
from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import MaintenanceStore, Shard, WorkerStore

ACQUIRE_INTERVAL_S = 5.0
"""Seconds between attempts to acquire a shard's lock, and between checks of `may_run`."""
MIN_IDLE_RATIO = 9
"""Minimum pause after a run that leaves nothing to do, as a multiple of its duration: polling takes a tenth of the time
at most, however many namespaces there are."""
BACKOFF = Backoff(initial_s=1.0, cap_s=30.0)
"""Back-off after failures in a row."""

_log = structlog.stdlib.get_logger(__name__)


class JobRunner:
    """Runner of one job in one shard, in this process.

    `may_run`: returns whether this process may use the database now; false while its schema is incompatible.
    """

    def __init__(
        self, job: Job, shard: Shard, store: WorkerStore, metrics: Metrics, may_run: Callable[[], bool]
    ) -> None:
        self._job, self._shard, self._store = job, shard, store
        self._metrics, self._may_run = metrics, may_run
        self._labels = (job.name, str(shard.number))
        self._log = _log.bind(work=job.name, shard=shard.number)
        self._failures = 0
        metrics.job_leader.labels(*self._labels).set(0)

    async def run(self) -> None:
        """Acquire the shard's lock whenever it is free, and run the job while it is owned. Until cancelled."""
        while True:
            try:
                if self._may_run():
                    await self._run_while_leader()
            except Exception as exc:  # noqa: BLE001 - the boundary of jobs: calls are served in any case
                await asyncio.sleep(self._on_failure(exc))
            else:
                await asyncio.sleep(ACQUIRE_INTERVAL_S * random.uniform(0.5, 1))  # noqa: S311 - spreads processes; no secret

    async def _run_while_leader(self) -> None:
        """Run the job as long as this process owns the lock; return at once if another one does."""
        async with self._store.acquire(self._job.name, self._shard) as session:
            if session is None:
                self._metrics.job_lag.labels(*self._labels).set(0)
                return
            self._log.info("background job leadership acquired")
            self._metrics.job_leader.labels(*self._labels).set(1)
            try:
                while self._may_run():
                    started = time.perf_counter()
                    result = await self._run_once(session)
                    duration_s = time.perf_counter() - started
                    await asyncio.sleep(
                        0 if result.has_more else max(self._job.interval_s, MIN_IDLE_RATIO * duration_s)
                    )
            finally:
                self._metrics.job_leader.labels(*self._labels).set(0)
                self._log.info("background job leadership lost")

    async def _run_once(self, session: MaintenanceStore) -> BatchResult:
        started, outcome = time.perf_counter(), "failed"
        try:
            result = await self._job.run_once(session)
            outcome = "done" if result.failure is None else "failed"
        finally:
            self._metrics.job_runs.labels(self._job.name, outcome).inc()
            self._metrics.job_duration.labels(self._job.name).observe(time.perf_counter() - started)
        self._metrics.job_rows.labels(self._job.name).inc(result.rows)
        self._metrics.job_lag.labels(*self._labels).set(result.lag_s)
        if result.failure is not None:
            raise result.failure
        self._failures = 0
        return result

    def _on_failure(self, exc: Exception) -> float:
        """Log the failure, and return the back-off in seconds."""
        self._failures += 1
        delay_s = BACKOFF.delay_s(self._failures, random.random())  # noqa: S311 - as above
        expected = isinstance(exc, SomaBrainError)
        self._log.warning(
            "background job failed",
            reason=exc.message if isinstance(exc, SomaBrainError) else type(exc).__name__,
            cause=str(exc.__cause__) if expected and exc.__cause__ else None,
            failures=self._failures,
            again_in_s=round(delay_s, 1),
            exc_info=None if expected else exc,
        )
        return delay_s
