"""The store over PostgreSQL with namespaces held in memory: every write is PostgreSQL's, and so is every text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from common.config.settings import ReplicaSettings
from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.store.background import Background
from somabrain_service.store.postgres.engine import Transactions
from somabrain_service.store.postgres.reading import PostgresReading
from somabrain_service.store.postgres.stocks import Stocks
from somabrain_service.store.postgres.store import PostgresStore
from somabrain_service.store.protocols import Reading
from somabrain_service.store.replica.portion import Source
from somabrain_service.store.replica.reading import ReplicaReading
from somabrain_service.store.replica.replicas import Replicas


class ReplicaStore(PostgresStore):
    """See `Store`. `replicas` is for those who look after it."""

    def __init__(self, transactions: Transactions, stocks: Stocks, tasks: Background, replica: ReplicaSettings) -> None:
        super().__init__(transactions, stocks, tasks)
        self.replicas = Replicas(replica.budget_bytes, replica.idle_s, self._source, tasks)

    def in_memory(self) -> tuple[int, int]:
        """See `Store.in_memory`."""
        return self.replicas.count, self.replicas.size_bytes

    @asynccontextmanager
    async def reading(self, tenant: TenantId, name: NamespaceName, now: datetime) -> AsyncIterator[Reading]:
        """See `Store.reading`."""
        async with self._transactions.read(tenant) as connection:
            seen = partial(self._known.keep, tenant)
            yield ReplicaReading(connection, name, now, seen, replicas=self.replicas, tenant=tenant)

    async def delete_namespace(
        self, tenant: TenantId, name: NamespaceName, etag: str, now: datetime, request: RequestKey | None
    ) -> bool:
        """See `Store.delete_namespace`."""
        deleted = await super().delete_namespace(tenant, name, etag, now, request)
        self.replicas.drop(tenant, name)
        return deleted

    @asynccontextmanager
    async def _source(self, tenant: TenantId, name: NamespaceName) -> AsyncIterator[Source]:
        """A reading to load a replica from."""
        async with self._transactions.read(tenant) as connection:
            yield PostgresReading(connection, name, datetime.now(UTC), partial(self._known.keep, tenant))
