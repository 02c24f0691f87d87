"""Open the store over PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common.config.settings import DatabaseSettings
from somabrain_service.store.protocols import Store


@asynccontextmanager
async def open_store(dsn: str, database: DatabaseSettings) -> AsyncIterator[Store]:
    """A store with its pool of connections, closed on leaving. Connects on first use, so it opens without PostgreSQL.

    Args:
        dsn: libpq URL of the app role.
        database: sizes and bounds in time.
    """
    raise NotImplementedError
    yield
