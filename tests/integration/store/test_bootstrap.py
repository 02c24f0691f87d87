"""The bootstrap file that a superuser runs is idempotent and takes any names."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from common.config.settings import DatabaseSettings
from somabrain_service.admin.embedded_postgres import EmbeddedDatabase
from somabrain_service.admin.migrate import migrate, migrations_folder
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.store.open import open_store
from somabrain_service.store.schema import HEAD
from tests.integration.store.conftest import Brain

NAMES = {"database": 'a "brain"', "owner": "the owner", "app": "the-app", "worker": "the'worker"}
ROLES = DatabaseSettings(app_role=NAMES["app"], worker_role=NAMES["worker"])


def bootstrap(server: EmbeddedDatabase, password: str) -> None:
    """Run the file as the comment at its beginning says."""
    values = {**NAMES, "ON_ERROR_STOP": "1"} | {f"{role}_password": password for role in ("owner", "app", "worker")}
    subprocess.run(
        [
            *(str(server.psql), "-X", "-q", *(f"--set={name}={value}" for name, value in values.items())),
            *("-f", str(migrations_folder() / "bootstrap.sql"), server.superuser_dsn),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture
def dropped(database_server: EmbeddedDatabase) -> Iterator[None]:
    """Drop the database and the roles afterwards, since the server is shared."""
    yield
    with psycopg.connect(database_server.superuser_dsn, autocommit=True) as superuser:
        superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(NAMES["database"])))
        for role in ("owner", "app", "worker"):
            superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(NAMES[role])))


@pytest.mark.usefixtures("dropped")
async def test_any_names_will_do_and_a_second_run_changes_only_passwords(database_server: EmbeddedDatabase) -> None:
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
