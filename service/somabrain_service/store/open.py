"""Open the store over PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common.config.settings import DatabaseSettings
from somabrain_service.store.postgres.engine import Transactions, open_engine
from somabrain_service.store.postgres.store import PostgresStore
from somabrain_service.store.protocols import Store


@asynccontextmanager
async def open_store(dsn: str, database: DatabaseSettings) -> AsyncIterator[Store]:
    """A store with its pool of connections, closed on leaving. Connects on first use, so it opens without PostgreSQL.

    Args:
        dsn: libpq URL of the app role.
        database: sizes and bounds in time.
    """
    async with open_engine(dsn, database) as engine:
        yield PostgresStore(Transactions(engine))
