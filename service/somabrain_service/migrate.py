"""Bring the database's schema to this image's version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from common.config.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class Migration:
    """What was done: schema numbers before (None: an empty database) and after. Equal: nothing was to do."""

    before: int | None
    after: int


def migrate(owner_dsn: str, database: DatabaseSettings, report: Callable[[str], None]) -> Migration:
    """Run `alembic upgrade head` under a lock; nothing when the database is ahead and compatible. Blocks.

    Args:
        owner_dsn: libpq URL of the owner role.
        database: role names and how long another migration is waited for.
        report: told, in sentences, what is being done.

    Raises:
        MigrationFailed: one sentence that says why, never with the DSN.
    """
    raise NotImplementedError
