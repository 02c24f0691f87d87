"""All background work of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta

import structlog

from common.config.settings import Settings
from somabrain_service.encoders.protocols import Encoder
from somabrain_service.kafka.publisher import Publisher
from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import Shard
from somabrain_service.store.open import open_worker_store
from somabrain_service.workers.expired import ExpiredMemories
from somabrain_service.workers.old_changes import OldChanges
from somabrain_service.workers.old_requests import OldRequests
from somabrain_service.workers.protocols import Worker
from somabrain_service.workers.reanalysis import Reanalysis
from somabrain_service.workers.reencoding import Reencoding
from somabrain_service.workers.relay import Relay
from somabrain_service.workers.running import Duty

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_duties(
    settings: Settings,
    encoders: Mapping[str, Encoder],
    clock: Callable[[], datetime],
    metrics: Metrics,
    may_work: Callable[[], bool],
) -> AsyncIterator[list[Duty]]:
    """Every work in every shard, to be run beside each other; none without `worker_dsn`, which is said.

    Raises:
        ConfigurationError: the DSN can never connect.
    """
    async with AsyncExitStack() as stack:
        shards = [Shard(number, settings.workers.shards) for number in range(settings.workers.shards)]
        # Each shard has workers of its own, because a worker may keep in mind how far it is.
        works = [(shard, worker) for shard in shards for worker in _workers(settings, encoders, clock, metrics, stack)]
        if settings.worker_dsn is None:
            _log.warning(
                "background work is off",
                reason="worker_dsn is not set; set SOMABRAIN_WORKER_DSN to a URL of the worker role",
                off=sorted({worker.name for _, worker in works}),
            )
            yield []
            return
        dsn = settings.worker_dsn.get_secret_value()
        store = await stack.enter_async_context(open_worker_store(dsn, settings.database))
        yield [Duty(worker, shard, store, metrics, may_work) for shard, worker in works]


def _workers(
    settings: Settings,
    encoders: Mapping[str, Encoder],
    clock: Callable[[], datetime],
    metrics: Metrics,
    stack: AsyncExitStack,
) -> list[Worker]:
    """Every work that the settings ask for; what it opens, `stack` closes."""
    rest_s, index_s, events = settings.workers.sweep_interval_s, settings.workers.reindex_interval_s, settings.events
    hold = timedelta(seconds=events.unpublished_retention_s) if events.brokers else None
    works: list[Worker] = [
        ExpiredMemories(clock, rest_s), OldChanges(clock, metrics, rest_s, hold), OldRequests(clock, rest_s),
        Reencoding(encoders, clock, index_s), Reanalysis(clock, index_s),
    ]  # fmt: skip
    if events.brokers:
        publisher = Publisher(events)
        stack.push_async_callback(publisher.close)
        works.append(Relay(publisher, events.source, clock, metrics, events.poll_interval_s))
    return works
