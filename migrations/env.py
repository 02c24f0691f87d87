"""Alembic environment: runs on the connection from `somabrain_service.admin.migrate`, else connects by the owner's DSN.

The names of the roles that get grants have the same source: its attributes, else the settings.
"""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy
from alembic import context

config = context.config


def _run(connection: sqlalchemy.Connection) -> None:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def _run_by_settings() -> None:
    from common.config.settings import settings
    from somabrain_service.admin.owner_connection import prepare_owner_session

    if settings.owner_dsn is None:
        raise SystemExit("Set SOMABRAIN_OWNER_DSN to the libpq URL of the owner role.")
    dsn = settings.owner_dsn.get_secret_value()
    config.attributes["app_role"] = settings.database.app_role
    config.attributes["worker_role"] = settings.database.worker_role

    def connect() -> psycopg.Connection[Any]:
        connection = psycopg.connect(dsn)
        prepare_owner_session(connection)
        return connection

    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=connect)
    with engine.connect() as connection:
        _run(connection)


if existing_connection := config.attributes.get("connection"):
    _run(existing_connection)
else:
    _run_by_settings()
