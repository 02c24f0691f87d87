"""PostgreSQL for the tests: one migrated embedded server per session, and one clone of its database per test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.config.settings import DatabaseSettings
from somabrain_service.admin.embedded_postgres import DATABASE, EmbeddedDatabase, embedded_database
from somabrain_service.admin.migrate import migrate
from tests.support.clones import Clone, make_clone

TARGET = pytest.StashKey[Any]()
"""The database that a user named, with the interface of `Clone`; see tests/conformance."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the tests whose duration can be chosen."""
    parser.addoption("--faults-s", type=float, default=16.0, metavar="S", help="seconds of faults under load")
    parser.addoption("--fault-s", type=float, default=4.0, metavar="S", help="seconds a dependency is down, and slow")
    parser.addoption("--drift-edits", type=int, default=30, metavar="N", help="edits by hand that are drawn")
    parser.addoption("--resilience-report", type=Path, metavar="FILE", help="where the table of resilience goes")


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


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Clone]:
    """A migrated, empty database: a clone, or with `make conformance` the user's, emptied."""
    if target := request.config.stash.get(TARGET, None):
        target.empty()
        yield target
    else:
        yield from make_clone(request.getfixturevalue("database_server"), DATABASE)


@pytest.fixture(scope="module")
def module_database(database_server: EmbeddedDatabase) -> Iterator[Clone]:
    """A migrated, empty database for all tests of a module."""
    yield from make_clone(database_server, DATABASE)


@pytest.fixture
def unmigrated(database_server: EmbeddedDatabase) -> Iterator[Clone]:
    """A database with the roles and the extension that the bootstrap creates, and no tables."""
    for clone in make_clone(database_server, DATABASE):
        migrate(clone.owner_dsn, database_server.database, lambda _: None, revision="base")
        yield clone
