"""PostgreSQL, the background jobs on it, and the search indexes built from it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from common.config.groups.base import Group, Seconds


class DatabaseSettings(Group):
    """PostgreSQL."""

    app_role: str = "somabrain_app"
    """PostgreSQL role that serves calls; it owns nothing and sees one tenant per transaction."""
    worker_role: str = "somabrain_worker"
    """PostgreSQL role of background jobs."""
    pool_size: Annotated[int, Field(ge=1, le=100)] = 8
    """Maximum pooled connections per process."""
    connect_timeout_s: Seconds = 5.0
    """Maximum seconds to wait for a new connection, or for a free one of the pool."""
    statement_timeout_s: Seconds = 10.0
    """Maximum seconds per statement; PostgreSQL cancels a longer one."""
    migration_lock_timeout_s: Seconds = 300.0
    """Maximum seconds that a migration waits for the lock of another one."""


class WorkersSettings(Group):
    """Background jobs, run by the processes that have `worker_dsn`."""

    shards: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of shards of the namespaces; each job runs in one process per shard. More than one only when one process
    cannot keep up (`somabrain_background_job_lag_seconds`), because every shard takes one connection per job."""
    sweep_interval_s: Seconds = 10.0
    """Seconds between runs of the expiry, trim and purge jobs when nothing is left to remove: rows outlive their
    expiry by at most this time."""
    reindex_interval_s: Seconds = 2.0
    """Seconds between runs of the reencode and reanalyze jobs when nothing is left to do: after a change of
    encoder or language, reindexing starts within this time."""


class SearchIndexSettings(Group):
    """Search indexes: namespaces in memory, so that Recall searches arrays instead of tables."""

    budget_bytes: Annotated[int, Field(ge=0, le=2**40)] = 256 * 1024 * 1024
    """Approximate maximum bytes of all search indexes of a process; 0: no search indexes. A memory with a vector of 384
    dimensions takes 1.0 kB, so the default is enough for 260,000; with the encoder it leaves half of a pod's default
    limit of 1 GiB free. A namespace that does not fit is searched in PostgreSQL. What is left is for token vectors, 3.8
    kB for a memory of 38 word pieces, 4.8 kB with the rest of it: then the default is enough for 55,000. Of further
    namespaces the token vectors are read from PostgreSQL."""
    idle_timeout_s: Seconds = 3600.0
    """Seconds without use after which a search index is evicted."""
