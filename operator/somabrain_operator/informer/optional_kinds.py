"""Periodic discovery of optional kinds: those of the Prometheus operator."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from common.errors import SomaBrainError
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import PROMETHEUS

_log = structlog.stdlib.get_logger(__name__)


class OptionalKinds:
    """Optional kinds that the API server does not serve, as of the last discovery."""

    def __init__(self, cluster: Cluster, interval_s: float) -> None:
        """Assume that all are missing until `discover`; `run` repeats it at least every `interval_s`."""
        self._cluster = cluster
        self._interval_s = interval_s
        self.missing_kinds = frozenset(each.kind for each in PROMETHEUS)

    async def discover(self) -> bool:
        """Read the served kinds from the API server; return whether the missing ones have changed."""
        previous = self.missing_kinds
        served = {
            group: await self._cluster.served_kinds(*group) for group in {(k.group, k.version) for k in PROMETHEUS}
        }
        self.missing_kinds = frozenset(
            each.kind for each in PROMETHEUS if each.kind not in served[each.group, each.version]
        )
        return previous != self.missing_kinds

    async def wait_for_discovery(self) -> None:
        """Retry discovery until it succeeds, without a timeout."""
        while True:
            try:
                await self.discover()
            except SomaBrainError as exc:
                _log.warning("API discovery failed; retrying", error=exc.message)
                await asyncio.sleep(1)
            else:
                return

    async def run(self, changed: Callable[[], None]) -> None:
        """Repeat discovery until cancelled, and call `changed` if a kind was added or removed."""
        while True:
            await asyncio.sleep(self._interval_s * random.uniform(0.7, 0.9))  # noqa: S311 - spreads load, guards nothing
            try:
                if await self.discover():
                    _log.info("optional kinds changed", missing=sorted(self.missing_kinds))
                    changed()
            except SomaBrainError as exc:
                _log.warning("API discovery failed", error=exc.message)
