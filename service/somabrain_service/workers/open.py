"""All background work of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import structlog

from common.config.settings import Settings
from somabrain_service.metrics import Metrics
from somabrain_service.store.open import open_worker_store
from somabrain_service.store.working import Shard
from somabrain_service.workers.expired import ExpiredMemories
from somabrain_service.workers.old_changes import OldChanges
from somabrain_service.workers.old_requests import OldRequests
from somabrain_service.workers.protocols import Worker
from somabrain_service.workers.running import Duty

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_duties(
    settings: Settings, clock: Callable[[], datetime], metrics: Metrics, may_work: Callable[[], bool]
) -> AsyncIterator[list[Duty]]:
    """Every work in every shard, to be run beside each other; none without `worker_dsn`, which is said.

    Raises:
        ConfigurationError: the DSN can never connect.
    """
    works = workers(settings, clock)
    if settings.worker_dsn is None:
        _log.warning(
            "background work is off",
            reason="worker_dsn is not set; set SOMABRAIN_WORKER_DSN to a URL of the worker role",
            off=[worker.name for worker in works],
        )
        yield []
        return
    async with open_worker_store(settings.worker_dsn.get_secret_value(), settings.database) as store:
        shards = [Shard(number, settings.workers.shards) for number in range(settings.workers.shards)]
        yield [Duty(worker, shard, store, metrics, may_work) for worker in works for shard in shards]


def workers(settings: Settings, clock: Callable[[], datetime]) -> tuple[Worker, ...]:
    """Every work that the settings ask for."""
    rest_s = settings.workers.sweep_rest_s
    return (ExpiredMemories(clock, rest_s), OldChanges(clock, rest_s), OldRequests(clock, rest_s))
