"""Databases of a test's own, cloned from the migrated one in a fraction of the time that a migration takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from common.config.settings import DatabaseSettings
from somabrain_service.admin.embedded_postgres import OWNER, EmbeddedDatabase

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Clone:
    """A test's own database, with a DSN for each role."""

    server: EmbeddedDatabase
    name: str

    @property
    def settings(self) -> DatabaseSettings:
        return DatabaseSettings()

    @property
    def owner_dsn(self) -> str:
        return self.server.dsn(OWNER, self.name)

    @property
    def app_dsn(self) -> str:
        return self.server.dsn(self.server.database.app_role, self.name)

    @property
    def worker_dsn(self) -> str:
        return self.server.dsn(self.server.database.worker_role, self.name)

    @property
    def superuser_dsn(self) -> str:
        return self.server.dsn("postgres", self.name)


def make_clone(server: EmbeddedDatabase, template: str) -> Iterator[Clone]:
    """Create a database from a template, and drop it afterwards."""
    clone = Clone(server, f"test_{next(_numbers)}")
    name = sql.Identifier(clone.name)
    with psycopg.connect(server.superuser_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template)))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(OWNER)))
    yield clone
    with psycopg.connect(server.superuser_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
