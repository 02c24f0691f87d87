"""Sessions of background jobs: a session-level advisory lock, and the transactions of that same session.

A session-level lock ends with its session, however that ends; so a process that lost the lock cannot write any more,
and no process has to release it. The server probes silent connections (`connect.worker_connector`), because otherwise
an owner that lost its network would keep the lock for hours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from common.errors import StoreUnavailable
from somabrain_service.domain.names import TenantId
from somabrain_service.events.cloudevents import EventBatch, OutboxCursor, PendingChanges
from somabrain_service.store.maintenance import (
    Encoded,
    MaintenanceStore,
    OrphanedTerms,
    PendingNamespace,
    PurgeResult,
    Shard,
    TermPage,
    TermPosition,
    TrimResult,
    Unanalyzed,
    Unencoded,
    UnencodedText,
)
from somabrain_service.store.postgres.driver import locks
from somabrain_service.store.postgres.driver.connect import Connector
from somabrain_service.store.postgres.driver.errors import DRIVER_ERRORS, is_retryable, redacted_cause, translate
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.transactions import BEGIN, retried
from somabrain_service.store.postgres.maintenance import expiry, orphans, outbox, reindex

T = TypeVar("T")


class PostgresWorkerStore:
    """`WorkerStore` on PostgreSQL: access to background jobs, one process per job and shard."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    @asynccontextmanager
    async def acquire(self, job: str, shard: Shard) -> AsyncIterator[MaintenanceStore | None]:
        """Own this job in the shard while the context is open; it yields None if another process owns it."""
        try:
            connection = await self._connector.connect()
        except DRIVER_ERRORS as exc:
            raise translate(exc) from redacted_cause(exc)
        try:
            session = MaintenanceSession(connection, shard, self._connector.is_current)
            yield session if await session.try_lock(job) else None
        finally:
            await connection.close()


class MaintenanceSession:
    """`MaintenanceStore` on PostgreSQL, over the connection that holds the lock of the shard."""

    def __init__(self, connection: Connection, shard: Shard, is_current: Callable[[Connection], bool]) -> None:
        self._connection = connection
        self._is_current = is_current
        self._shard = shard
        self._failed = False
        """True while a transaction is open, and after one failed."""

    async def try_lock(self, job: str) -> bool:
        """Try to get the lock without waiting; return whether it was acquired."""
        values = {"job": locks.job_key(job), "shard": self._shard.number}

        async def attempt(connection: Connection) -> bool:
            return bool((await connection.execute(locks.TRY_JOB, values)).scalar_one())

        return await self._run_transaction(attempt)

    async def expired(self, now: datetime, limit: int) -> list[PendingNamespace]:
        """Return at most `limit` namespaces of the shard with expired memories, longest pending first."""
        return await self._run_transaction(lambda connection: expiry.expired(connection, self._shard, now, limit))

    async def expire(self, pending: PendingNamespace, now: datetime, limit: int) -> int:
        """Delete at most `limit` expired memories with their derived rows, append to the feed, return their number."""
        return await self._run_transaction(
            lambda connection: expiry.expire(connection, pending, now, limit), pending.tenant
        )

    async def namespaces_to_trim(self, now: datetime, grace_period: timedelta, limit: int) -> list[PendingNamespace]:
        """Return at most `limit` namespaces of the shard whose feeds have changes to trim, oldest first."""
        return await self._run_transaction(
            lambda connection: expiry.namespaces_to_trim(connection, self._shard, now, grace_period, limit)
        )

    async def trim_changes(
        self, pending: PendingNamespace, now: datetime, grace_period: timedelta, limit: int
    ) -> TrimResult:
        """Delete at most `limit` changes past the retention, oldest first, except the newest of them."""
        return await self._run_transaction(
            lambda connection: expiry.trim_changes(connection, pending, now, grace_period, limit), pending.tenant
        )

    async def pending_changes(
        self, after: tuple[TenantId, int] | None, limit: int, changes: int
    ) -> list[PendingChanges]:
        """Return namespaces with unpublished changes, in key order, after the key `after`."""
        return await self._run_transaction(
            lambda connection: outbox.pending_changes(connection, self._shard, after, limit, changes)
        )

    async def deleted_namespaces(self, limit: int) -> list[OutboxCursor]:
        """Return the cursors of at most `limit` deleted namespaces whose deletion is not published yet."""
        return await self._run_transaction(lambda connection: outbox.deleted_namespaces(connection, self._shard, limit))

    async def save_cursors(self, batches: Sequence[EventBatch]) -> None:
        """Save the cursors of published batches; delete those of deleted namespaces."""
        await self._run_transaction(lambda connection: outbox.save_cursors(connection, batches))

    async def purge_keys(self, now: datetime, limit: int) -> PurgeResult:
        """Delete at most `limit` expired request ids."""
        return await self._run_transaction(lambda connection: expiry.purge_keys(connection, self._shard, now, limit))

    async def unencoded(self, encoders: Sequence[str], with_tokens: Sequence[str]) -> list[Unencoded]:
        """Return namespaces of the shard that use one of these encoders and have memories without its vector."""
        return await self._run_transaction(
            lambda connection: reindex.unencoded(connection, self._shard, encoders, with_tokens)
        )

    async def texts(
        self, namespace: Unencoded, after: int, limit: int, *, with_tokens: bool = False
    ) -> list[UnencodedText]:
        """Return at most `limit` memories without a vector, with ids above `after`, in id order."""
        return await self._run_transaction(
            lambda connection: reindex.texts(connection, namespace, after, limit, with_tokens=with_tokens),
            namespace.tenant,
        )

    async def encode(self, namespace: Unencoded, encoded: Sequence[Encoded], now: datetime) -> int:
        """Store vectors of memories whose revision is unchanged, in a namespace whose encoder is unchanged."""
        return await self._run_transaction(
            lambda connection: reindex.encode(connection, namespace, encoded, now), namespace.tenant
        )

    async def unanalyzed(self, limit: int) -> list[Unanalyzed]:
        """Return at most `limit` namespaces of the shard with terms of a former analyzer, longest pending first."""
        return await self._run_transaction(lambda connection: reindex.unanalyzed(connection, self._shard, limit))

    async def analyze(
        self, namespace: Unanalyzed, terms: Callable[[str], Counter[str]], now: datetime, limit: int
    ) -> int:
        """Replace the terms of the namespace's next memories, at most `limit`, and return the number of memories."""
        return await self._run_transaction(
            lambda connection: reindex.analyze(connection, namespace, terms, now, limit), namespace.tenant
        )

    async def next_terms(self, after: TermPosition | None, limit: int) -> TermPage | None:
        """Read at most `limit` terms of the shard's memories, from the first `after` on; None: there are no more."""
        return await self._run_transaction(lambda connection: orphans.next_page(connection, self._shard, after, limit))

    async def remove_orphaned_terms(self, orphaned: OrphanedTerms, now: datetime) -> int:
        """Delete these terms where their memory does not exist, and correct the namespace's counts."""
        return await self._run_transaction(
            lambda connection: orphans.remove(connection, orphaned, now), orphaned.tenant
        )

    async def _run_transaction(self, work: Callable[[Connection], Awaitable[T]], tenant: TenantId | None = None) -> T:
        """Run `work` in a transaction of one tenant, or of all, with retries after conflicts.

        After an error the caller must leave the shard.
        """
        if self._connection.lost:
            raise StoreUnavailable("The connection that owned this job's lock is lost.")
        if not self._is_current(self._connection):
            raise StoreUnavailable("The DSN of the worker role was changed; the job goes on with a connection to that.")

        async def attempt() -> T:
            if self._failed:
                await self._connection.rollback()
            self._failed = True
            self._connection.tenant = tenant
            self._connection.begin((BEGIN, {}))
            result = await work(self._connection)
            await self._connection.commit()
            self._failed = False
            return result

        return await retried(attempt, lambda exc: is_retryable(exc) and not self._connection.lost)
