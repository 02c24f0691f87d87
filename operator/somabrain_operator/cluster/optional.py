"""Kinds that a cluster may lack: those of the Prometheus operator. Whether they are there is asked again and again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from common.errors import SomaBrainError
from somabrain_operator.cluster.api import Cluster
from somabrain_operator.cluster.kinds import PROMETHEUS

_log = structlog.stdlib.get_logger("somabrain_operator.optional")


class OptionalKinds:
    """What was learned of them."""

    def __init__(self, cluster: Cluster, every_s: float) -> None:
        """Take all of them for missing until `look`; `run` looks at least once in `every_s`."""
        self._cluster = cluster
        self._every_s = every_s
        self.lacking = frozenset(each.kind for each in PROMETHEUS)

    async def look(self) -> bool:
        """Ask the API server which there are; return whether that has changed."""
        before = self.lacking
        served = {group: await self._cluster.served(*group) for group in {(k.group, k.version) for k in PROMETHEUS}}
        self.lacking = frozenset(each.kind for each in PROMETHEUS if each.kind not in served[each.group, each.version])
        return before != self.lacking

    async def known(self) -> None:
        """Return when it is known which there are, however long the API server takes to answer."""
        while True:
            try:
                await self.look()
            except SomaBrainError as exc:
                _log.warning("waiting for the API server to tell its kinds", error=exc.message)
                await asyncio.sleep(1)
            else:
                return

    async def run(self, changed: Callable[[], None]) -> None:
        """Look until cancelled, and call `changed` when one came or went."""
        while True:
            await asyncio.sleep(self._every_s * random.uniform(0.7, 0.9))  # noqa: S311 - spreads load, guards nothing
            try:
                if await self.look():
                    _log.info("kinds came or went", missing=sorted(self.lacking))
                    changed()
            except SomaBrainError as exc:
                _log.warning("optional kinds not read", error=exc.message)
