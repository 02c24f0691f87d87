"""PostgreSQL for the tests: one migrated embedded server per session, and one clone of its database per test."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from common.config.settings import DatabaseSettings
from somabrain_service.admin.embedded_postgres import DATABASE, OWNER, EmbeddedDatabase, embedded_database
from somabrain_service.admin.migrate import migrate

TARGET = pytest.StashKey[Any]()
"""The database that a user named, with the interface of `Clone`; see tests/conformance."""
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the tests whose duration can be chosen."""
    parser.addoption("--faults-s", type=float, default=16.0, metavar="S", help="seconds of faults under load")
    parser.addoption("--fault-s", type=float, default=4.0, metavar="S", help="seconds a dependency is down, and slow")
    parser.addoption("--drift-edits", type=int, default=30, metavar="N", help="edits by hand that are drawn")
    parser.addoption("--resilience-report", type=Path, metavar="FILE", help="where the table of resilience goes")


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


@pytest.fixture(scope="session")
def own_folder() -> Iterator[Path]:
    """A folder for the data of servers, outside pytest's temporary folder.

    When root runs the tests, PostgreSQL runs as another user, and pytest denies other users its folder at each start.
    """
    with tempfile.TemporaryDirectory(prefix="somabrain-tests-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def database_server(own_folder: Path) -> Iterator[EmbeddedDatabase]:
    """A server whose database `somabrain` is migrated; nothing connects to it, so that it can be cloned."""
    with embedded_database(own_folder / "postgresql", DatabaseSettings()) as server:
        migrate(server.owner_dsn, server.database, lambda _: None)
        yield server


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


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Clone]:
    """A migrated, empty database: a clone, or with `make conformance` the user's, emptied."""
    if target := request.config.stash.get(TARGET, None):
        target.empty()
        yield target
    else:
        yield from make_clone(request.getfixturevalue("database_server"), DATABASE)


@pytest.fixture
def unmigrated(database_server: EmbeddedDatabase) -> Iterator[Clone]:
    """A database with the roles and the extension that the bootstrap creates, and no tables."""
    for clone in make_clone(database_server, DATABASE):
        migrate(clone.owner_dsn, database_server.database, lambda _: None, revision="base")
        yield clone
