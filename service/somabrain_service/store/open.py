"""Open the store over PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

from common.config.settings import DatabaseSettings, SearchIndexSettings
from somabrain_service.domain.quota import StorageUsage
from somabrain_service.store import kernel
from somabrain_service.store.maintenance import WorkerStore
from somabrain_service.store.postgres.driver.connect import open_pool, worker_connector
from somabrain_service.store.postgres.driver.transactions import Transactions
from somabrain_service.store.postgres.maintenance.session import PostgresWorkerStore
from somabrain_service.store.postgres.queries.delete import BATCH_SIZE
from somabrain_service.store.postgres.storage_quota import StorageQuota
from somabrain_service.store.postgres.store import PostgresStore
from somabrain_service.store.protocols import Store
from somabrain_service.store.tasks import task_set


@asynccontextmanager
async def open_store(
    dsn: str,
    database: DatabaseSettings,
    storage_quota: StorageQuota | None = None,
    search_index: SearchIndexSettings | None = None,
    *,
    delete_batch_size: int = BATCH_SIZE,
    current_dsn: Callable[[], str | None] | None = None,
) -> AsyncIterator[Store]:
    """Open a store with its connection pool, closed on exit. Connects on first use, so it opens without PostgreSQL.

    Args:
        dsn: libpq URL of the app role.
        database: pool size and timeouts.
        storage_quota: limits of what tenants may store; None: unlimited.
        search_index: memory budget of the search indexes; None, or without the native kernel: no search index.
        delete_batch_size: maximum memories that one statement deletes with a namespace or subject.
        current_dsn: returns `dsn` as it is now, if it was rotated, None if it is missing; None: it never is.
    """
    storage_quota = storage_quota or StorageQuota(lambda _: StorageUsage(), 0)
    async with open_pool(dsn, database, current_dsn) as pool, task_set() as tasks:
        store = PostgresStore(Transactions(pool), storage_quota, tasks, delete_batch_size=delete_batch_size)
        if search_index is None or not search_index.budget_bytes or not kernel.is_installed():
            yield store
            return
        from somabrain_service.store.search_index.store import SearchIndexStore  # imports the kernel

        indexed = SearchIndexStore(store, tasks, search_index)
        with closing(indexed.indexes):
            yield indexed


@asynccontextmanager
async def open_worker_store(
    dsn: str, database: DatabaseSettings, current_dsn: Callable[[], str | None] | None = None
) -> AsyncIterator[WorkerStore]:
    """Open the store of background jobs. Connects when a job is acquired.

    Args:
        dsn: libpq URL of the worker role; direct or through a pooler in session mode, not in transaction mode.
        database: timeouts.
        current_dsn: returns `dsn` as it is now, if it was rotated, None if it is missing; None: it never is.
    """
    yield PostgresWorkerStore(worker_connector(dsn, database, current_dsn))
