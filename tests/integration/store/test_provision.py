"""`somabrain-service provision` creates a database and its roles, changes no others, and may be interrupted."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from asyncio.subprocess import DEVNULL
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from common.config.settings import DatabaseSettings
from common.provisioning import ProvisionedDatabase, app_role, worker_role
from somabrain_service.admin.embedded_postgres import EmbeddedDatabase
from somabrain_service.admin.migrate import migrate
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.store.open import open_store
from somabrain_service.store.schema import HEAD
from tests.integration.store.conftest import Brain

pytestmark = pytest.mark.own_server

NAME = "team-a_brain"
ADMIN = "cloud admin"
ID, ANOTHER_ID = "0" * 32, "1" * 32
SECRET = "a-password-of-the-admin"


@dataclass(frozen=True)
class Server:
    """The server as its superuser, and the files of the command."""

    embedded: EmbeddedDatabase
    folder: Path

    def sql(self, statement: str, *arguments: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.embedded.dsn("postgres", database), autocommit=True) as superuser:
            cursor = superuser.execute(sql.SQL(statement), arguments or None)
            return cursor.fetchall() if cursor.description else []

    def desired(self, *numbers: int, **fields: str) -> ProvisionedDatabase:
        logins = [
            {"number": each, "app_password": f"app-password-{each:04}", "worker_password": f"worker-password-{each:04}"}
            for each in numbers or (1,)
        ]
        return ProvisionedDatabase.model_validate(
            {
                "id": ID,
                "resource": "team-a/brain",
                "database": NAME,
                "owner_password": "owner-password-01",
                "address": f"?host={self.embedded.socket}",
                "logins": logins,
                **fields,
            }
        )

    def command(self, desired: ProvisionedDatabase, *flags: str, admin: str = "postgres") -> list[str]:
        """Return the command with its files: the administrator's Secret, and the desired database."""
        secret, file = self.folder / admin, self.folder / f"{desired.model_dump_json().__hash__()}.json"
        secret.mkdir(exist_ok=True)
        (secret / "uri").write_text(f"postgresql://{admin.replace(' ', '%20')}:{SECRET}@/*?host={self.embedded.socket}")
        file.write_text(desired.model_dump_json())
        words = ("provision", "--admin", str(secret), "--database", str(file), *flags)
        return [sys.executable, "-m", "somabrain_service.cli", *words]

    def run(
        self, desired: ProvisionedDatabase, *flags: str, admin: str = "postgres"
    ) -> subprocess.CompletedProcess[str]:
        argv = self.command(desired, *flags, admin=admin)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    def provision(self, desired: ProvisionedDatabase, admin: str = "postgres") -> str:
        done = self.run(desired, admin=admin)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def drop(self, desired: ProvisionedDatabase, admin: str = "postgres") -> str:
        done = self.run(desired, "--drop", admin=admin)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def roles(self) -> list[str]:
        rows = self.sql("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s) ORDER BY rolname", NAME)
        return [str(row[0]) for row in rows]

    def databases(self) -> list[str]:
        return [str(row[0]) for row in self.sql("SELECT datname FROM pg_database WHERE datname = %s", NAME)]


@pytest.fixture
def server(database_server: EmbeddedDatabase, tmp_path: Path) -> Iterator[Server]:
    """The shared server, and an administrator that is not a superuser; created objects are dropped afterwards."""
    made = Server(database_server, tmp_path)
    made.sql(f'CREATE ROLE "{ADMIN}" LOGIN CREATEROLE CREATEDB')
    yield made
    made.sql(f'DROP DATABASE IF EXISTS "{NAME}" WITH (FORCE)')
    for role in (*reversed(made.roles()), ADMIN):
        made.sql(f'DROP ROLE IF EXISTS "{role}"')


def logins(server: Server, *numbers: int) -> list[str]:
    """Return the roles with these logins, in the order of `Server.roles`."""
    kinds = (f"{NAME}_app", f"{NAME}_worker")
    members = [f"{kind}_{number}" for kind in kinds for number in numbers]
    return sorted([*kinds, *members, f"{NAME}_owner"])


async def serves(server: Server, desired: ProvisionedDatabase) -> None:
    """Migrate as the owner, and remember and recall as the newest login, by the connection strings of a SomaBrain."""
    names = DatabaseSettings(app_role=app_role(NAME), worker_role=worker_role(NAME))
    dsns = desired.dsns()
    assert migrate(dsns["owner-dsn"], names, lambda _: None).after == HEAD
    async with open_store(dsns["app-dsn"], names) as store:
        brain = Brain(AppContext(store, {}, "lexical"), tenant_id("i", "t"), NamespaceName.of("n"))
        await brain.create()
        await brain.remember("Bees dance.")
        assert await brain.recalled_texts("bees") == ["Bees dance."]
    with psycopg.connect(dsns["app-dsn"]) as app:
        assert app.execute("SELECT count(*) FROM memories").fetchone() == (0,)  # no tenant, so row security hides all
    with psycopg.connect(dsns["worker-dsn"]) as worker:
        worker.execute("SELECT 1 FROM namespaces LIMIT 1")


async def test_provision_works_with_createrole_and_createdb_alone(server: Server) -> None:
    """CREATEROLE and CREATEDB suffice, but for an extension that is not trusted, which is reported with the remedy.

    Once a superuser has created it, another run completes what the first began, and further runs change nothing.
    """
    desired = server.desired()
    refused = server.run(desired, admin=ADMIN)
    assert refused.returncode == 1
    assert 'PostgreSQL refused: permission denied to create extension "vector"; let a superuser' in refused.stderr
    assert f"run in the database {NAME}: CREATE EXTENSION vector" in refused.stderr
    server.sql("CREATE EXTENSION vector", database=NAME)
    server.provision(desired, ADMIN)
    await serves(server, desired)
    server.provision(desired, ADMIN)
    assert server.roles() == logins(server, 1)
    assert server.drop(desired, ADMIN)
    assert (server.roles(), server.databases()) == ([], [])


async def test_superuser_provisions_everything_in_one_run(server: Server) -> None:
    """One run creates database, extension and roles with marks, no rights beyond need, and none for PUBLIC."""
    desired = server.desired()
    server.provision(desired)
    await serves(server, desired)
    rights = server.sql(
        "SELECT count(*), bool_or(rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole OR rolreplication)"
        " FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = %s",
        desired.comment,
    )
    assert rights == [(5, False)]
    can_log_in = server.sql("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s) AND NOT rolcanlogin", NAME)
    assert {row[0] for row in can_log_in} == set(desired.groups)
    assert server.sql("SELECT has_database_privilege('somabrain_app', %s, 'CONNECT')", NAME) == [(False,)]


def test_provision_sends_no_password_to_the_server_log(server: Server) -> None:
    """Passwords are stored as SCRAM verifiers and never sent in plain text."""
    server.sql("ALTER SYSTEM SET log_statement = 'all'")
    server.sql("SELECT pg_reload_conf()")
    try:
        server.provision(server.desired())
    finally:
        server.sql("ALTER SYSTEM RESET log_statement")
        server.sql("SELECT pg_reload_conf()")
    (row,) = server.sql("SELECT current_setting('data_directory')")
    log = (Path(row[0]) / "log").read_text(errors="replace")
    assert f'ALTER ROLE "{NAME}_owner" LOGIN PASSWORD' in log
    assert "owner-password-01" not in log
    assert "app-password-0001" not in log
    stored = server.sql("SELECT DISTINCT left(rolpassword, 13) FROM pg_authid WHERE rolname LIKE %s", f"{NAME}%1")
    assert stored == [("SCRAM-SHA-256",)]


def test_missing_right_is_reported_with_remedy(server: Server) -> None:
    """Without CREATEROLE the run ends with PostgreSQL's message and the remedy, and leaves nothing."""
    server.sql(f'ALTER ROLE "{ADMIN}" NOCREATEROLE')
    refused = server.run(server.desired(), admin=ADMIN)
    assert refused.returncode == 1
    assert "PostgreSQL refused: permission denied to create role; the administrator's role needs CREATEROLE and" in (
        refused.stderr
    )
    assert (server.roles(), server.databases()) == ([], [])
    server.sql(f'ALTER ROLE "{ADMIN}" CREATEROLE NOCREATEDB')
    refused = server.run(server.desired(), admin=ADMIN)
    assert "PostgreSQL refused: permission denied to create database; the administrator's role needs" in refused.stderr


def test_wrong_password_is_reported_without_printing_it(server: Server) -> None:
    """A refused login is reported with PostgreSQL's message; neither log nor message repeats the password."""
    (row,) = server.sql("SHOW hba_file")
    rules = Path(row[0])
    former = rules.read_text()
    rules.write_text(f'local all "{ADMIN}" scram-sha-256\n{former}')
    server.sql("SELECT pg_reload_conf()")
    try:
        server.sql(f"ALTER ROLE \"{ADMIN}\" PASSWORD 'another'")
        refused = server.run(server.desired(), admin=ADMIN)
    finally:
        rules.write_text(former)
        server.sql("SELECT pg_reload_conf()")
    assert refused.returncode == 1
    said = f'PostgreSQL cannot be reached as the administrator: password authentication failed for user "{ADMIN}".'
    assert said in refused.stderr
    assert SECRET not in refused.stderr + refused.stdout


def test_foreign_database_is_refused_and_unchanged(server: Server) -> None:
    """A database that existed before is neither changed nor dropped, and no role is created beside it."""
    server.sql(f'CREATE DATABASE "{NAME}"')
    server.sql("CREATE TABLE precious (x int)", database=NAME)
    before = server.sql("SELECT datdba, datacl FROM pg_database WHERE datname = %s", NAME)
    refused = server.run(server.desired())
    assert refused.returncode == 1
    assert f'The database "{NAME}" exists, belongs to the role "postgres" and was not made for this SomaBrain;' in (
        refused.stderr
    )
    assert "nothing to drop" in server.drop(server.desired())
    assert server.sql("SELECT datdba, datacl FROM pg_database WHERE datname = %s", NAME) == before
    assert server.sql("SELECT count(*) FROM precious", database=NAME) == [(0,)]
    assert server.roles() == []


def test_database_of_another_somabrain_is_refused_and_unchanged(server: Server) -> None:
    """The mark is the id of the Secret: the same names under another id belong to another SomaBrain."""
    server.provision(server.desired())
    another = server.desired(id=ANOTHER_ID)
    assert "was not made for this SomaBrain" in server.run(another).stderr
    server.drop(another)
    assert server.databases() == [NAME]
    assert server.roles() == logins(server, 1)
    server.drop(server.desired())
    server.sql(f'CREATE ROLE "{NAME}_app"')
    assert f'The role "{NAME}_app" exists and was not made for this SomaBrain' in server.run(server.desired()).stderr
    assert (server.roles(), server.databases()) == ([f"{NAME}_app"], [])
    server.drop(server.desired())
    assert server.roles() == [f"{NAME}_app"]


def test_two_logins_work_until_one_is_removed(server: Server) -> None:
    """With two logins both connect, with each other's rights; one that is no longer named is dropped."""
    server.provision(server.desired(1))
    server.provision(server.desired(1, 2))
    assert server.roles() == logins(server, 1, 2)
    for number in (1, 2):
        with psycopg.connect(server.desired(number).dsns()["app-dsn"]) as app:
            assert app.execute("SELECT pg_has_role(current_user, %s, 'USAGE')", [app_role(NAME)]).fetchone() == (True,)
    server.provision(server.desired(2))
    assert server.roles() == logins(server, 2)


def test_manual_role_changes_are_corrected(server: Server) -> None:
    """A role that was dropped, or may no longer log in or connect, is restored by another run."""
    desired = server.desired()
    server.provision(desired)
    server.sql(f'DROP ROLE "{NAME}_worker_1"')
    server.sql(f'ALTER ROLE "{NAME}_app_1" NOLOGIN')
    server.sql(f'REVOKE CONNECT ON DATABASE "{NAME}" FROM "{NAME}_app"')
    server.provision(desired)
    for kind in ("app", "worker"):
        with psycopg.connect(desired.dsns()[f"{kind}-dsn"]) as connection:
            connection.execute("SELECT 1")
    server.sql(f'ALTER ROLE "{NAME}_app_1" BYPASSRLS')
    refused = server.run(desired).stderr
    assert f'The role "{NAME}_app_1" has BYPASSRLS, which it must not have; let a superuser run: ALTER ROLE' in refused


def test_concurrent_provisions_create_one_database(server: Server) -> None:
    """Four concurrent runs all succeed: they wait for each other."""
    with ThreadPoolExecutor(4) as pool:
        for done in pool.map(lambda _: server.run(server.desired()), range(4)):
            assert done.returncode == 0, done.stderr
    assert server.roles() == logins(server, 1)


async def test_killed_provision_is_completed_by_the_next_run(server: Server) -> None:
    """Runs killed at random moments leave nothing that the next one does not complete."""
    desired, drawn = server.desired(), random.Random(22)
    command = server.command(desired)
    began = time.monotonic()
    server.provision(desired)
    length_s = time.monotonic() - began
    for number in range(10):
        if number % 3 == 0:
            server.drop(desired)
        process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)
        await asyncio.sleep(drawn.uniform(0.4, 1.0) * length_s)
        with suppress(ProcessLookupError):  # it was faster
            process.kill()
        await process.wait()
    server.drop(desired)
    server.sql(f'CREATE ROLE "{NAME}_owner" LOGIN')
    server.sql(f"COMMENT ON ROLE \"{NAME}_owner\" IS '{desired.comment}'")
    server.sql(f'CREATE DATABASE "{NAME}" OWNER "{NAME}_owner" TEMPLATE template0')  # killed before the comment
    server.provision(desired)
    await serves(server, desired)


def test_drop_removes_database_in_use_and_nothing_else(server: Server) -> None:
    """Open connections do not prevent the drop; another database and its roles remain."""
    desired = server.desired()
    server.provision(desired)
    before = server.sql("SELECT array_agg(datname ORDER BY datname) FROM pg_database WHERE datname <> %s", NAME)
    with psycopg.connect(desired.dsns()["app-dsn"]) as app:
        server.drop(desired)
        with pytest.raises(psycopg.OperationalError):
            app.execute("SELECT 1")
    assert (server.roles(), server.databases()) == ([], [])
    after = server.sql("SELECT array_agg(datname ORDER BY datname) FROM pg_database WHERE datname <> %s", NAME)
    assert after == before
    assert "nothing to drop" in server.drop(desired)


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ({}, "The administrator's Secret lacks host, username, password or has it empty"),
        ({"uri": f"mysql://root:{SECRET}@db/"}, "has a uri that is not postgresql://"),
        ({"uri": f"postgresql://root:{SECRET}/x@db/"}, "write %40 for @ and %2F for / in its password"),
        ({"host": "db", "username": "u", "password": SECRET, "port": "x"}, "has a port that is not a number"),
    ],
)
def test_unusable_admin_secret_is_reported(server: Server, secret: dict[str, str], message: str) -> None:
    """A Secret without the keys or with a malformed URL is named, and its contents are not."""
    argv = server.command(server.desired())
    folder = server.folder / "malformed"
    folder.mkdir()
    for name, value in secret.items():
        (folder / name).write_text(value)
    argv[argv.index("--admin") + 1] = str(folder)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert message in done.stderr
    assert SECRET not in done.stderr


def test_invalid_description_is_reported(server: Server, tmp_path: Path) -> None:
    """A file that the operator would not write names the fields and repeats no password."""
    argv = server.command(server.desired())
    file = tmp_path / "invalid.json"
    file.write_text(json.dumps({"id": "no", "owner_password": SECRET}))
    argv[argv.index("--database") + 1] = str(file)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "is invalid in address, database, id, logins, resource" in done.stderr
    assert SECRET not in done.stderr
