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
    """See `WorkerStore`."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    @asynccontextmanager
    async def acquire(self, job: str, shard: Shard) -> AsyncIterator[MaintenanceStore | None]:
        """See `WorkerStore.acquire`."""
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
    """See `MaintenanceStore`."""

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
        """See `MaintenanceStore.expired`."""
        return await self._run_transaction(lambda connection: expiry.expired(connection, self._shard, now, limit))

    async def expire(self, pending: PendingNamespace, now: datetime, limit: int) -> int:
        """See `MaintenanceStore.expire`."""
        return await self._run_transaction(
            lambda connection: expiry.expire(connection, pending, now, limit), pending.tenant
        )

    async def namespaces_to_trim(self, now: datetime, grace_period: timedelta, limit: int) -> list[PendingNamespace]:
        """See `MaintenanceStore.namespaces_to_trim`."""
        return await self._run_transaction(
            lambda connection: expiry.namespaces_to_trim(connection, self._shard, now, grace_period, limit)
        )

    async def trim_changes(
        self, pending: PendingNamespace, now: datetime, grace_period: timedelta, limit: int
    ) -> TrimResult:
        """See `MaintenanceStore.trim_changes`."""
        return await self._run_transaction(
            lambda connection: expiry.trim_changes(connection, pending, now, grace_period, limit), pending.tenant
        )

    async def pending_changes(
        self, after: tuple[TenantId, int] | None, limit: int, changes: int
    ) -> list[PendingChanges]:
        """See `MaintenanceStore.pending_changes`."""
        return await self._run_transaction(
            lambda connection: outbox.pending_changes(connection, self._shard, after, limit, changes)
        )

    async def deleted_namespaces(self, limit: int) -> list[OutboxCursor]:
        """See `MaintenanceStore.deleted_namespaces`."""
        return await self._run_transaction(lambda connection: outbox.deleted_namespaces(connection, self._shard, limit))

    async def save_cursors(self, batches: Sequence[EventBatch]) -> None:
        """See `MaintenanceStore.save_cursors`."""
        await self._run_transaction(lambda connection: outbox.save_cursors(connection, batches))

    async def purge_keys(self, now: datetime, limit: int) -> PurgeResult:
        """See `MaintenanceStore.purge_keys`."""
        return await self._run_transaction(lambda connection: expiry.purge_keys(connection, self._shard, now, limit))

    async def unencoded(self, encoders: Sequence[str], with_tokens: Sequence[str]) -> list[Unencoded]:
        """See `MaintenanceStore.unencoded`."""
        return await self._run_transaction(
            lambda connection: reindex.unencoded(connection, self._shard, encoders, with_tokens)
        )

    async def texts(
        self, namespace: Unencoded, after: int, limit: int, *, with_tokens: bool = False
    ) -> list[UnencodedText]:
        """See `MaintenanceStore.texts`."""
        return await self._run_transaction(
            lambda connection: reindex.texts(connection, namespace, after, limit, with_tokens=with_tokens),
            namespace.tenant,
        )

    async def encode(self, namespace: Unencoded, encoded: Sequence[Encoded], now: datetime) -> int:
        """See `MaintenanceStore.encode`."""
        return await self._run_transaction(
            lambda connection: reindex.encode(connection, namespace, encoded, now), namespace.tenant
        )

    async def unanalyzed(self, limit: int) -> list[Unanalyzed]:
        """See `MaintenanceStore.unanalyzed`."""
        return await self._run_transaction(lambda connection: reindex.unanalyzed(connection, self._shard, limit))

    async def analyze(
        self, namespace: Unanalyzed, terms: Callable[[str], Counter[str]], now: datetime, limit: int
    ) -> int:
        """See `MaintenanceStore.analyze`."""
        return await self._run_transaction(
            lambda connection: reindex.analyze(connection, namespace, terms, now, limit), namespace.tenant
        )

    async def next_terms(self, after: TermPosition | None, limit: int) -> TermPage | None:
        """See `MaintenanceStore.next_terms`."""
        return await self._run_transaction(lambda connection: orphans.next_page(connection, self._shard, after, limit))

    async def remove_orphaned_terms(self, orphaned: OrphanedTerms, now: datetime) -> int:
        """See `MaintenanceStore.remove_orphaned_terms`."""
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
