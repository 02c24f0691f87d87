"""Open the flags as the settings say: from etcd, or as they are by default."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import structlog

from common.config.settings import Settings
from common.health import HealthProbe
from common.utils.etcd_client import EtcdClient, PrefixWatcher
from somabrain_service.domain.names import tenant_id
from somabrain_service.flags.board import FlagBoard, Reading
from somabrain_service.flags.registry import defaults
from somabrain_service.metrics import Metrics

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenFlags:
    """The flags, and whoever follows etcd for them; `follower` None: nobody, for there is no etcd."""

    board: FlagBoard
    follower: PrefixWatcher | None

    def checks(self) -> dict[str, HealthProbe]:
        """Return how to see, for /healthz, how etcd was found last."""
        if self.follower is None:
            return {}
        follower = self.follower
        return {"etcd": lambda: replace(follower.check, notes=self.board.reading.problems)}

    async def follow(self) -> None:
        """Keep the flags as they are in etcd, until cancelled."""
        if self.follower is not None:
            await self.follower.run()


@asynccontextmanager
async def open_flags(settings: Settings, metrics: Metrics) -> AsyncIterator[OpenFlags]:
    """Read the flags, once; an etcd that does not answer is waited for no longer than one attempt.

    Raises:
        ConfigurationError: a file for TLS cannot be read.
    """
    chosen = settings.flags

    def changed(before: Reading, now: Reading) -> None:
        metrics.flag_problems.set(len(now.problems))
        for problem in now.problems:
            if problem not in before.problems:
                _log.warning("a key in etcd is none of a flag's", problem=problem)
        if (before.everywhere, before.tenants) != (now.everywhere, now.tenants):
            metrics.flag_changes.inc()
            _log.info("flags changed", everywhere=dict(now.everywhere), tenants=len(now.tenants))

    issuer = "none" if settings.auth.mode == "none" else settings.auth.issuer
    board = FlagBoard(chosen.prefix, defaults(settings.quota), partial(tenant_id, issuer), changed)
    if not chosen.endpoints:
        yield OpenFlags(board, None)
        return
    async with EtcdClient(chosen) as client:
        follower = PrefixWatcher(client, f"{chosen.prefix}/", board.become)
        await follower.relist()
        yield OpenFlags(board, follower)
