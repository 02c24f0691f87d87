"""All background jobs of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta

import structlog

from common.config.rotation import secret_value
from common.config.settings import Settings
from somabrain_service.background.expire_memories import ExpireMemories
from somabrain_service.background.job import Job
from somabrain_service.background.purge_idempotency_keys import PurgeIdempotencyKeys
from somabrain_service.background.reanalyze import Reanalyze
from somabrain_service.background.reencode import Reencode
from somabrain_service.background.remove_orphaned_terms import RemoveOrphanedTerms
from somabrain_service.background.runner import JobRunner
from somabrain_service.background.trim_change_feed import TrimChangeFeed
from somabrain_service.encoders.protocols import Encoder
from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import Shard
from somabrain_service.store.open import open_worker_store

_log = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def open_jobs(
    settings: Settings,
    encoders: Mapping[str, Encoder],
    clock: Callable[[], datetime],
    metrics: Metrics,
    may_run: Callable[[], bool],
    current: Callable[[], Settings] | None = None,
) -> AsyncIterator[list[JobRunner]]:
    """Yield a runner for each job in each shard, to be run concurrently; none, with a warning, without `worker_dsn`.

    `current` returns the settings as they are now, for a DSN or Kafka's user or password that was rotated; None: never.

    Raises:
        ConfigurationError: the DSN is invalid.
    """
    async with AsyncExitStack() as stack:
        shards = [Shard(number, settings.workers.shards) for number in range(settings.workers.shards)]
        # Each shard has its own jobs, because a job may keep a cursor in memory.
        jobs = [
            (shard, job) for shard in shards for job in _make_jobs(settings, encoders, clock, metrics, stack, current)
        ]
        if settings.worker_dsn is None:
            _log.warning(
                "background jobs are disabled",
                reason="worker_dsn is not set; set SOMABRAIN_WORKER_DSN to a URL of the worker role",
                off=sorted({job.name for _, job in jobs}),
            )
            yield []
            return
        dsn = settings.worker_dsn.get_secret_value()
        current_dsn = None if current is None else lambda: secret_value(current().worker_dsn)
        store = await stack.enter_async_context(open_worker_store(dsn, settings.database, current_dsn))
        yield [JobRunner(job, shard, store, metrics, may_run) for shard, job in jobs]


def _make_jobs(
    settings: Settings,
    encoders: Mapping[str, Encoder],
    clock: Callable[[], datetime],
    metrics: Metrics,
    stack: AsyncExitStack,
    current: Callable[[], Settings] | None,
) -> list[Job]:
    """Return every job that the settings enable; `stack` closes what they open."""
    sweep_interval_s, index_interval_s, events = (
        settings.workers.sweep_interval_s,
        settings.workers.reindex_interval_s,
        settings.events,
    )
    grace_period = timedelta(seconds=events.unpublished_retention_s) if events.brokers else None
    jobs: list[Job] = [
        ExpireMemories(clock, sweep_interval_s),
        TrimChangeFeed(clock, metrics, sweep_interval_s, grace_period),
        PurgeIdempotencyKeys(clock, sweep_interval_s),
        Reencode(encoders, clock, index_interval_s),
        Reanalyze(clock, index_interval_s),
        RemoveOrphanedTerms(clock, sweep_interval_s),
    ]
    if events.brokers:
        # Here, so that a process without Kafka does not load its library.
        from somabrain_service.background.publish_outbox import PublishOutbox
        from somabrain_service.events.publisher import Publisher

        publisher = Publisher(events, None if current is None else lambda: current().events)
        stack.push_async_callback(publisher.close)
        jobs.append(PublishOutbox(publisher, events.source, clock, metrics, events.poll_interval_s))
    return jobs
