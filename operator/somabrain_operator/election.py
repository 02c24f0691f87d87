"""Leads while the Lease is ours: takes it, renews it, stops when it is lost, and gives it back at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import structlog

from common.errors import SomaBrainError
from somabrain_operator.cluster.api import Cluster
from somabrain_operator.cluster.kinds import LEASE
from somabrain_operator.leadership import Seat, Sighting, claim, may_take, release, see
from somabrain_operator.metrics import Metrics
from somabrain_operator.proof import WatchProof
from somabrain_operator.tree import Json, text

_log = structlog.stdlib.get_logger("somabrain_operator.election")


class Election:
    """One operator's part in it."""

    def __init__(self, cluster: Cluster, seat: Seat, proof: WatchProof, metrics: Metrics) -> None:
        """Take no part before `run`."""
        self._cluster = cluster
        self._seat = seat
        self._proof = proof
        self._metrics = metrics
        self._seen: Sighting | None = None
        self._news = asyncio.Event()
        self._renewed_at_s = 0.0
        self.leading = False

    def lease_seen(self, event: str | None, lease: Json) -> None:
        """Take an event of a Lease: proof that watches are alive, and news when it is free or somebody else's."""
        if text(lease, "metadata", "namespace") != self._seat.namespace:
            return
        self._proof.seen()
        holder = text(lease, "spec", "holderIdentity")
        if event == "DELETED" or not holder or (self.leading and holder != self._seat.identity):
            self._news.set()

    async def run(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do `work` whenever and as long as the Lease is ours, until cancelled.

        Args:
            work: does not end by itself; it is cancelled when the Lease is lost, and begun anew when it is ours again.
        """
        while True:
            await self._win()
            try:
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(work())
                    await self._hold()
                    task.cancel()
            finally:
                self._leads(now=False)
            _log.warning("leadership is lost; nothing is written until it is ours again", lease=self._seat.name)

    @asynccontextmanager
    async def released(self) -> AsyncIterator[None]:
        """At the end of the block, when no work is done any more, give the Lease back if it is ours."""
        try:
            yield
        finally:
            try:
                async with asyncio.timeout(self._seat.renew_s):
                    lease = await self._cluster.get(LEASE, self._seat.namespace, self._seat.name)
                    if lease is not None and text(lease, "spec", "holderIdentity") == self._seat.identity:
                        await self._cluster.put(LEASE, release(self._seat, lease, datetime.now(UTC)))
                        _log.info("leadership given back", lease=self._seat.name)
            except (SomaBrainError, TimeoutError) as exc:
                _log.warning("the Lease could not be given back and will expire", error=_said(exc))

    async def _win(self) -> None:
        """Return once the Lease is ours."""
        said = ""
        while not await self._tried():
            holder = self._seen.holder if self._seen else ""
            if holder and holder != said:
                _log.info("another operator leads; waiting", lease=self._seat.name, holder=holder)
                said = holder
            await self._pause(self._seat.retry_s)
        self._leads(now=True)
        _log.info("leading", lease=self._seat.name, identity=self._seat.identity)

    async def _tried(self) -> bool:
        try:
            async with asyncio.timeout(self._seat.renew_s):
                return await self._bid()
        except (SomaBrainError, TimeoutError) as exc:
            self._failed(exc)
            return False

    async def _hold(self) -> None:
        """Renew the Lease; return when it is another's, or could not be renewed in time."""
        now, wait_s = asyncio.get_running_loop().time, self._seat.renew_s
        while (ends_at_s := self._renewed_at_s + self._seat.deadline_s) > now():
            await self._pause(min(wait_s, ends_at_s - now()))
            try:
                async with asyncio.timeout_at(min(ends_at_s, now() + self._seat.renew_s)):
                    if not await self._bid():
                        return
                wait_s = self._seat.renew_s
            except (SomaBrainError, TimeoutError) as exc:
                self._failed(exc)
                wait_s = self._seat.retry_s

    async def _bid(self) -> bool:
        """Take or renew the Lease unless it is another's; return whether it is ours."""
        seat, now_s = self._seat, asyncio.get_running_loop().time()
        lease = await self._cluster.get(LEASE, seat.namespace, seat.name)
        before, self._seen = self._seen, see(lease, self._seen, now_s)
        if not may_take(self._seen, seat.identity, now_s):
            if before is not self._seen:
                self._proof.expect()
            return False
        await self._cluster.put(LEASE, claim(seat, lease, datetime.now(UTC)))
        self._proof.expect()
        self._renewed_at_s = now_s
        return True

    def _failed(self, error: Exception) -> None:
        self._proof.excuse()
        _log.warning("the Lease was neither read nor renewed", lease=self._seat.name, error=_said(error))

    def _leads(self, *, now: bool) -> None:
        self.leading = now
        self._metrics.leader.set(now)

    async def _pause(self, longest_s: float) -> None:
        """Wait, at most until there is news of the Lease."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._news.wait()
        self._news.clear()


def _said(error: Exception) -> str:
    return error.message if isinstance(error, SomaBrainError) else "it took too long"
