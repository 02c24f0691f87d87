"""Leader election: acquire the Lease, renew it, stop when it is lost, and release it at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import structlog

from common.errors import SomaBrainError
from somabrain_operator.informer.watch_liveness import WatchLiveness
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import LEASE
from somabrain_operator.kube.objects import Json, text
from somabrain_operator.leaderelection.lease import LeaseConfig, LeaseRecord, acquired, can_acquire, observe, released
from somabrain_operator.metrics import Metrics

_log = structlog.stdlib.get_logger("somabrain_operator.leaderelection.elector")


class LeaderElector:
    """Leader elector of one operator process."""

    def __init__(self, cluster: Cluster, config: LeaseConfig, liveness: WatchLiveness, metrics: Metrics) -> None:
        """Do nothing before `run`."""
        self._cluster = cluster
        self._config = config
        self._liveness = liveness
        self._metrics = metrics
        self._observed_record: LeaseRecord | None = None
        self._lease_changed = asyncio.Event()
        self._renewed_at_s = 0.0
        self.leading = False

    def on_lease_event(self, event: str | None, lease: Json) -> None:
        """Handle an event of a Lease: it shows that watches deliver, and wakes the elector if the holder changed."""
        if text(lease, "metadata", "namespace") != self._config.namespace:
            return
        self._liveness.on_event()
        holder = text(lease, "spec", "holderIdentity")
        if event == "DELETED" or not holder or (self.leading and holder != self._config.identity):
            self._lease_changed.set()

    async def run(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run `work` while this operator holds the Lease, until cancelled.

        Args:
            work: does not end by itself; cancelled when the Lease is lost, and started again when it is reacquired.
        """
        while True:
            await self._acquire()
            try:
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(work())
                    await self._renew_until_lost()
                    task.cancel()
            finally:
                self._set_leading(leading=False)
            _log.warning("leader election lost; writes stopped", lease=self._config.name)

    @asynccontextmanager
    async def release_on_exit(self) -> AsyncIterator[None]:
        """Release the Lease at the end of the block, after all work has stopped, if this operator holds it."""
        try:
            yield
        finally:
            try:
                async with asyncio.timeout(self._config.renew_interval_s):
                    lease = await self._cluster.get(LEASE, self._config.namespace, self._config.name)
                    if lease is not None and text(lease, "spec", "holderIdentity") == self._config.identity:
                        await self._cluster.create_or_replace(LEASE, released(self._config, lease, datetime.now(UTC)))
                        _log.info("released lease", lease=self._config.name)
            except (SomaBrainError, TimeoutError) as exc:
                _log.warning("failed to release lease; it will expire", error=_error_message(exc))

    async def _acquire(self) -> None:
        """Return once the Lease is acquired."""
        logged_holder = ""
        while not await self._try_acquire():
            holder = self._observed_record.holder if self._observed_record else ""
            if holder and holder != logged_holder:
                _log.info("lease is held by another operator; waiting", lease=self._config.name, holder=holder)
                logged_holder = holder
            await self._wait_for_change(self._config.retry_period_s)
        self._set_leading(leading=True)
        _log.info("acquired lease", lease=self._config.name, identity=self._config.identity)

    async def _try_acquire(self) -> bool:
        try:
            async with asyncio.timeout(self._config.renew_interval_s):
                return await self._try_acquire_or_renew()
        except (SomaBrainError, TimeoutError) as exc:
            self._on_attempt_failed(exc)
            return False

    async def _renew_until_lost(self) -> None:
        """Renew the Lease; return when another operator holds it or the renew deadline has passed."""
        now, wait_s = asyncio.get_running_loop().time, self._config.renew_interval_s
        while (ends_at_s := self._renewed_at_s + self._config.renew_deadline_s) > now():
            await self._wait_for_change(min(wait_s, ends_at_s - now()))
            try:
                async with asyncio.timeout_at(min(ends_at_s, now() + self._config.renew_interval_s)):
                    if not await self._try_acquire_or_renew():
                        return
                wait_s = self._config.renew_interval_s
            except (SomaBrainError, TimeoutError) as exc:
                self._on_attempt_failed(exc)
                wait_s = self._config.retry_period_s

    async def _try_acquire_or_renew(self) -> bool:
        """Acquire or renew the Lease unless another operator holds it; return whether this one does."""
        config, now_s = self._config, asyncio.get_running_loop().time()
        lease = await self._cluster.get(LEASE, config.namespace, config.name)
        previous, self._observed_record = self._observed_record, observe(lease, self._observed_record, now_s)
        if not can_acquire(self._observed_record, config.identity, now_s):
            if previous is not self._observed_record:
                self._liveness.expect_event()
            return False
        await self._cluster.create_or_replace(LEASE, acquired(config, lease, datetime.now(UTC)))
        self._liveness.expect_event()
        self._renewed_at_s = now_s
        return True

    def _on_attempt_failed(self, error: Exception) -> None:
        self._liveness.pause()
        _log.warning("failed to acquire or renew lease", lease=self._config.name, error=_error_message(error))

    def _set_leading(self, *, leading: bool) -> None:
        self.leading = leading
        self._metrics.leader.set(leading)

    async def _wait_for_change(self, timeout_s: float) -> None:
        """Wait until an event shows that the Lease changed, or until the timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._lease_changed.wait()
        self._lease_changed.clear()


def _error_message(error: Exception) -> str:
    return error.message if isinstance(error, SomaBrainError) else "timed out"
