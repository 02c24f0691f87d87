"""Opens the flags: from etcd, or with their defaults if none is configured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import structlog

from common.config.settings import Settings
from common.health import HealthProbe
from common.utils.etcd_client import EtcdClient, PrefixWatcher
from somabrain_service.domain.names import tenant_id
from somabrain_service.flags.registry import default_flags
from somabrain_service.flags.store import FlagSnapshot, FlagStore
from somabrain_service.metrics import Metrics

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenFlags:
    """The flags, and the watcher that updates them; `watcher` None: no etcd is configured."""

    store: FlagStore
    watcher: PrefixWatcher | None

    def checks(self) -> dict[str, HealthProbe]:
        """Return the health probe of etcd for /healthz; empty if no etcd is configured."""
        if self.watcher is None:
            return {}
        watcher = self.watcher
        return {"etcd": lambda: replace(watcher.check, notes=self.store.snapshot.problems)}

    async def watch(self) -> None:
        """Update the flags from etcd, until cancelled."""
        if self.watcher is not None:
            await self.watcher.run()


@asynccontextmanager
async def open_flags(
    settings: Settings, metrics: Metrics, current: Callable[[], Settings] | None = None
) -> AsyncIterator[OpenFlags]:
    """Yield the flags after one attempt to read them, so that an etcd that does not answer does not block the start.

    `current` returns the settings as they are now, for a user or password of etcd that was rotated; None: never.

    Raises:
        ConfigurationError: a file for TLS cannot be read.
    """
    flag_settings = settings.flags

    def on_change(previous: FlagSnapshot, current: FlagSnapshot) -> None:
        metrics.flag_problems.set(len(current.problems))
        for problem in current.problems:
            if problem not in previous.problems:
                _log.warning("invalid flag in etcd", problem=problem)
        if (previous.global_values, previous.tenants) != (current.global_values, current.tenants):
            metrics.flag_changes.inc()
            _log.info("flags changed", everywhere=dict(current.global_values), tenants=len(current.tenants))

    issuer = "none" if settings.auth.mode == "none" else settings.auth.issuer
    store = FlagStore(flag_settings.prefix, default_flags(settings.quota), partial(tenant_id, issuer), on_change)
    if not flag_settings.endpoints:
        yield OpenFlags(store, None)
        return
    async with EtcdClient(flag_settings, None if current is None else lambda: current().flags) as client:
        watcher = PrefixWatcher(client, f"{flag_settings.prefix}/", store.apply)
        await watcher.relist()
        yield OpenFlags(store, watcher)
