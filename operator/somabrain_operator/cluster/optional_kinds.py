"""Kinds that a cluster may lack: those of the Prometheus operator. Whether they are there is asked again and again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from common.errors import SomaBrainError
from somabrain_operator.cluster.client import Cluster
from somabrain_operator.cluster.kinds import PROMETHEUS

_log = structlog.stdlib.get_logger("somabrain_operator.optional")


class OptionalKinds:
    """What was learned of them."""

    def __init__(self, cluster: Cluster, interval_s: float) -> None:
        """Take all of them for missing until `look`; `run` looks at least once in `every_s`."""
        self._cluster = cluster
        self._interval_s = interval_s
        self.missing_kinds = frozenset(each.kind for each in PROMETHEUS)

    async def discover(self) -> bool:
        """Ask the API server which there are; return whether that has changed."""
        previous = self.missing_kinds
        served = {
            group: await self._cluster.served_kinds(*group) for group in {(k.group, k.version) for k in PROMETHEUS}
        }
        self.missing_kinds = frozenset(
            each.kind for each in PROMETHEUS if each.kind not in served[each.group, each.version]
        )
        return previous != self.missing_kinds

    async def wait_for_discovery(self) -> None:
        """Return when it is known which there are, however long the API server takes to answer."""
        while True:
            try:
                await self.discover()
            except SomaBrainError as exc:
                _log.warning("waiting for the API server to tell its kinds", error=exc.message)
                await asyncio.sleep(1)
            else:
                return

    async def run(self, changed: Callable[[], None]) -> None:
        """Look until cancelled, and call `changed` when one came or went."""
        while True:
            await asyncio.sleep(self._interval_s * random.uniform(0.7, 0.9))  # noqa: S311 - spreads load, guards nothing
            try:
                if await self.discover():
                    _log.info("kinds came or went", missing=sorted(self.missing_kinds))
                    changed()
            except SomaBrainError as exc:
                _log.warning("optional kinds not read", error=exc.message)
