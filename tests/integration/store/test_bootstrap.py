"""The bootstrap file is idempotent, takes any names, and needs no superuser but for an untrusted extension."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from common.config.settings import DatabaseSettings
from somabrain_service.admin.embedded_postgres import EmbeddedDatabase
from somabrain_service.admin.migrate import migrate
from somabrain_service.admin.migrations_folder import migrations_folder
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.store.open import open_store
from somabrain_service.store.schema import HEAD
from tests.integration.store.conftest import Brain

pytestmark = pytest.mark.own_server

NAMES = {"database": 'a "brain"', "owner": "the owner", "app": "the-app", "worker": "the'worker"}
ROLES = DatabaseSettings(app_role=NAMES["app"], worker_role=NAMES["worker"])


ADMINISTRATOR = "cloud admin"


def run_bootstrap(server: EmbeddedDatabase, dsn: str, password: str) -> subprocess.CompletedProcess[str]:
    """Run the file by the command in its first comment."""
    values = {**NAMES, "ON_ERROR_STOP": "1"} | {f"{role}_password": password for role in ("owner", "app", "worker")}
    return subprocess.run(
        [
            *(str(server.psql), "-X", "-q", *(f"--set={name}={value}" for name, value in values.items())),
            *("-f", str(migrations_folder() / "bootstrap.sql"), dsn),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def bootstrap(server: EmbeddedDatabase, password: str) -> None:
    """Run the file as the superuser."""
    done = run_bootstrap(server, server.superuser_dsn, password)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def dropped(database_server: EmbeddedDatabase) -> Iterator[None]:
    """Drop the database and the roles afterwards, since the server is shared."""
    yield
    with psycopg.connect(database_server.superuser_dsn, autocommit=True) as superuser:
        superuser.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(NAMES["database"])))
        for role in ("owner", "app", "worker"):
            superuser.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(NAMES[role])))
        superuser.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(ADMINISTRATOR)))


@pytest.mark.usefixtures("dropped")
async def test_bootstrap_accepts_any_names_and_rerun_changes_only_passwords(database_server: EmbeddedDatabase) -> None:
    bootstrap(database_server, 'it\'s "one"')
    bootstrap(database_server, "two")

    def dsn(role: str) -> str:
        return psycopg.conninfo.make_conninfo(
            host=str(database_server.socket), user=NAMES[role], dbname=NAMES["database"]
        )

    assert migrate(dsn("owner"), ROLES, lambda _: None).after == HEAD
    async with open_store(dsn("app"), ROLES) as store:
        assert (await store.schema_state()).compatible
        brain = Brain(AppContext(store, {}, "lexical"), tenant_id("i", "t"), NamespaceName.of("n"))
        await brain.create()
        await brain.remember("Bees dance.")
        assert await brain.recalled_texts("bees") == ["Bees dance."]
    with psycopg.connect(database_server.superuser_dsn) as superuser:
        roles = superuser.execute(
            "SELECT rolpassword LIKE 'SCRAM-SHA-256%%', rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole"
            " FROM pg_authid WHERE rolname = ANY(%s)",
            [[NAMES["owner"], NAMES["app"], NAMES["worker"]]],
        ).fetchall()
        assert roles == [(True, False)] * 3
        stranger = superuser.execute(
            "SELECT has_database_privilege('somabrain_app', %s, 'CONNECT')", [NAMES["database"]]
        ).fetchone()
        assert stranger == (False,)


def dsn_of(server: EmbeddedDatabase, user: str, database: str) -> str:
    return psycopg.conninfo.make_conninfo(host=str(server.socket), user=user, dbname=database)


@pytest.mark.usefixtures("dropped")
def test_bootstrap_works_with_createrole_and_createdb_alone(database_server: EmbeddedDatabase) -> None:
    """A role with CREATEROLE and CREATEDB alone runs the file; missing rights are reported with the remedy.

    That is all but the extension, which is not trusted in this build: once a superuser created it, in a schema of its
    own, a second run and a third end well, and the owner migrates.
    """
    administrator = dsn_of(database_server, ADMINISTRATOR, "postgres")
    with psycopg.connect(database_server.superuser_dsn, autocommit=True) as superuser:
        superuser.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB").format(sql.Identifier(ADMINISTRATOR)))
    first = run_bootstrap(database_server, administrator, "one")
    assert first.returncode != 0
    (error,) = [line for line in first.stderr.splitlines() if "ERROR:" in line]
    assert 'permission denied to create extension "vector"; let a superuser' in error
    assert 'run in the database "a ""brain""": CREATE EXTENSION vector; then run this again' in error
    in_database = dsn_of(database_server, "postgres", NAMES["database"])
    with psycopg.connect(in_database, autocommit=True) as superuser:
        superuser.execute("CREATE SCHEMA extensions")
        superuser.execute(
            sql.SQL("GRANT USAGE ON SCHEMA extensions TO {} WITH GRANT OPTION").format(sql.Identifier(ADMINISTRATOR))
        )
        superuser.execute("CREATE EXTENSION vector SCHEMA extensions")
    for password in ("two", "three"):
        done = run_bootstrap(database_server, administrator, password)
        assert done.returncode == 0, done.stderr
    assert migrate(dsn_of(database_server, NAMES["owner"], NAMES["database"]), ROLES, lambda _: None).after == HEAD


@pytest.mark.usefixtures("dropped")
def test_role_with_excessive_rights_is_refused(database_server: EmbeddedDatabase) -> None:
    """A role that is a superuser, or bypasses row security, ends the run with the statement that corrects it."""
    with psycopg.connect(database_server.superuser_dsn, autocommit=True) as superuser:
        superuser.execute(sql.SQL("CREATE ROLE {} SUPERUSER BYPASSRLS").format(sql.Identifier(NAMES["app"])))
        done = run_bootstrap(database_server, database_server.superuser_dsn, "one")
        assert done.returncode != 0
        remedy = 'ALTER ROLE "the-app" NOSUPERUSER NOBYPASSRLS'
        assert f'The role "the-app" has SUPERUSER BYPASSRLS, which it must not have; let a superuser run: {remedy}' in (
            done.stderr
        )
        superuser.execute(remedy)
    bootstrap(database_server, "two")
