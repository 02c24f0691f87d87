"""Leader election: acquire the Lease, renew it, stop when it is lost, and release it at the end.

Releases before 0.2 may have their Lease in another namespace. During an upgrade from one, or a return to it, both
places count: the leader holds both Leases. That namespace may be deleted; then no operator can hold the Lease there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import structlog

from common.errors import NotFound, PermissionDenied, SomaBrainError
from somabrain_operator.informer.watch_liveness import WatchLiveness
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import LEASE
from somabrain_operator.kube.objects import Json, Manifest, text
from somabrain_operator.leaderelection.lease import LeaseConfig, LeaseRecord, acquired, can_acquire, observe, released
from somabrain_operator.metrics import Metrics

_log = structlog.stdlib.get_logger(__name__)


class LeaderElector:
    """Leader elector of one operator process."""

    def __init__(self, cluster: Cluster, config: LeaseConfig, liveness: WatchLiveness, metrics: Metrics) -> None:
        """Do nothing before `run`."""
        self._cluster = cluster
        self._config = config
        self._liveness = liveness
        self._metrics = metrics
        self._leases = tuple(each for each in (config.former, config) if each is not None)
        self._observed_records: dict[str, LeaseRecord | None] = {}
        self._lease_changed = asyncio.Event()
        self._renewed_at_s = 0.0
        self.leading = False
        self.failure = ""
        """Why the last attempt to acquire or renew the Lease failed, as a sentence; empty if it did not fail."""

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
                    for config, lease in (await self._read()).items():
                        if lease is not None and text(lease, "spec", "holderIdentity") == config.identity:
                            await self._cluster.create_or_replace(LEASE, released(config, lease, datetime.now(UTC)))
                            _log.info("released lease", lease=config.name, namespace=config.namespace)
            except (SomaBrainError, TimeoutError) as exc:
                _log.warning("failed to release lease; it will expire", error=_error_message(exc))

    async def _acquire(self) -> None:
        """Return once the Lease is acquired."""
        logged_holder = ""
        while not await self._try_acquire():
            records = (each for each in self._observed_records.values() if each is not None)
            holder = next((each.holder for each in records if each.holder not in ("", self._config.identity)), "")
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
        now_s = asyncio.get_running_loop().time()
        leases = await self._read()
        for config, lease in leases.items():
            previous = self._observed_records.get(config.namespace)
            record = self._observed_records[config.namespace] = observe(lease, previous, now_s)
            if config is self._config and previous is not record and not self._is_free(config, now_s):
                self._liveness.expect_event()
        if is_free := all(self._is_free(config, now_s) for config in leases):
            for config, lease in leases.items():
                await self._write(config, lease)
            self._liveness.expect_event()
            self._renewed_at_s = now_s
        self.failure = ""
        return is_free

    def _is_free(self, config: LeaseConfig, now_s: float) -> bool:
        return can_acquire(self._observed_records[config.namespace], config.identity, now_s)

    async def _read(self) -> dict[LeaseConfig, Manifest | None]:
        """Return each Lease; the one of earlier releases only if its namespace lets any operator read it."""
        leases: dict[LeaseConfig, Manifest | None] = {}
        for config in self._leases:
            try:
                leases[config] = await self._cluster.get(LEASE, config.namespace, config.name)
            except PermissionDenied:
                if config is self._config:
                    raise
        return leases

    async def _write(self, config: LeaseConfig, lease: Manifest | None) -> None:
        try:
            await self._cluster.create_or_replace(LEASE, acquired(config, lease, datetime.now(UTC)))
        except (NotFound, PermissionDenied):  # the namespace does not exist, or is being deleted
            if config is self._config:
                raise

    def _on_attempt_failed(self, error: Exception) -> None:
        self._liveness.pause()
        self.failure = (
            f"The Lease {self._config.namespace}/{self._config.name} was neither acquired nor renewed: "
            f"{_error_message(error).rstrip('.')}. Without it nothing is reconciled: check that its namespace exists "
            "and that the operator may get, create and update leases there, as its chart grants."
        )
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
