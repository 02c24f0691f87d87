"""`make conformance` tests a database that a user names, refuses one that is not empty, and leaves no table behind."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest

from common.config.settings import DatabaseSettings
from somabrain_service.admin.migrate import migrate
from tests.conformance.target import MARK
from tests.support.clones import Clone

pytestmark = pytest.mark.own_server

OBJECTS = """
SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1, 2
"""


@pytest.fixture
def empty(unmigrated: Clone) -> Clone:
    """A database that bootstrap.sql prepared, without any table."""
    execute(unmigrated, "DROP TABLE alembic_version")
    return unmigrated


def execute(database: Clone, *statements: str) -> None:
    with psycopg.connect(database.superuser_dsn, autocommit=True) as superuser:
        for statement in statements:
            superuser.execute(statement.encode())


def objects(database: Clone) -> list[tuple[object, ...]]:
    """All tables, views, indexes and sequences of the database."""
    with psycopg.connect(database.superuser_dsn) as superuser:
        return superuser.execute(OBJECTS).fetchall()


def conformance(*, owner: str, app: str, worker: str, select: str = "") -> subprocess.CompletedProcess[str]:
    words = ["--owner-dsn", owner, "--app-dsn", app, "--worker-dsn", worker]
    return subprocess.run(
        [sys.executable, "-m", "tests.conformance", *words, *(["--select", select] if select else [])],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def of(database: Clone, select: str = "") -> subprocess.CompletedProcess[str]:
    return conformance(owner=database.owner_dsn, app=database.app_dsn, worker=database.worker_dsn, select=select)


def test_conformance_suite_leaves_an_empty_database_empty(empty: Clone) -> None:
    """The output is one sentence, the tests that need a server of their own are named, and no table remains."""
    done = of(empty, "test_forget or test_bootstrap")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests passed: SomaBrain works with PostgreSQL 18" in done.stdout
    assert "test_bootstrap.py::test_bootstrap_accepts_any_names_and_rerun_changes_only_passwords" in done.stdout
    assert objects(empty) == []


def test_conformance_suite_cleans_up_an_interrupted_run(empty: Clone) -> None:
    """A database with the mark of this command is its own: the run starts over there, and leaves it empty."""
    execute(empty, f"CREATE TABLE {MARK} ()", f"ALTER TABLE {MARK} OWNER TO somabrain_owner")
    migrate(empty.owner_dsn, DatabaseSettings(), lambda _: None)
    done = of(empty, "test_forget and not index and not cached")
    assert done.returncode == 0, done.stdout + done.stderr
    assert objects(empty) == []


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("CREATE TABLE orders (number int)", "public.orders"),
        ("CREATE SCHEMA shop; CREATE TABLE shop.orders (number int)", "shop.orders"),
        (f"CREATE TABLE {MARK} (); CREATE TABLE orders (number int)", "public.orders"),
    ],
)
def test_database_with_a_table_is_refused_unchanged(empty: Clone, table: str, name: str) -> None:
    """A database with tables of others is named with its contents, and nothing in it changes."""
    execute(empty, table)
    before = objects(empty)
    done = of(empty)
    assert done.returncode == 2
    assert f"The database {empty.name} has " in done.stderr
    assert name in done.stderr
    assert objects(empty) == before


def test_migrated_database_without_the_mark_is_refused(database: Clone) -> None:
    """SomaBrain's own migrated database is not taken for an empty one."""
    before = objects(database)
    done = of(database)
    assert done.returncode == 2
    assert "give an empty one" in done.stderr
    assert objects(database) == before


def test_invalid_dsns_and_roles_are_reported_before_the_first_test(empty: Clone) -> None:
    """A missing DSN, a superuser, one role for two, another database and an absent server are reported."""
    owner, app, worker = empty.owner_dsn, empty.app_dsn, empty.worker_dsn
    elsewhere = empty.server.dsn("somabrain_worker", "postgres")
    execute(empty, "GRANT CONNECT ON DATABASE postgres TO somabrain_worker")
    for given, message in (
        ({"worker": ""}, "WORKER_DSN not set"),
        ({"owner": empty.superuser_dsn}, "OWNER_DSN: the role postgres is or has a superuser and BYPASSRLS"),
        ({"worker": app}, "give three different roles"),
        ({"worker": elsewhere}, "WORKER_DSN leads to the database postgres"),
        ({"owner": app, "app": owner}, "OWNER_DSN: the role somabrain_app may not create tables"),
        ({"app": "postgresql://somabrain_app:secret@127.0.0.1:1/none"}, "APP_DSN: cannot connect to none at 127.0.0.1"),
        ({"app": "nonsense"}, "APP_DSN is not a libpq URL"),
    ):
        done = conformance(**{"owner": owner, "app": app, "worker": worker, **given})
        assert (done.returncode, message in done.stderr) == (2, True), (given, done.stdout, done.stderr)
        assert "secret" not in done.stderr
    assert objects(empty) == []


def test_missing_pgvector_extension_is_reported(empty: Clone) -> None:
    """Without pgvector the output names the statement that adds it."""
    execute(empty, "DROP EXTENSION vector")
    done = of(empty)
    assert done.returncode == 2
    assert "CREATE EXTENSION vector" in done.stderr
