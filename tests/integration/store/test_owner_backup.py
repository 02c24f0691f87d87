"""docs/backup.md: the owner backs up and restores without a superuser."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest

from common.config.settings import DatabaseSettings
from somabrain_service.admin.migrate import migrate
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.store.open import open_store
from tests.integration.store.conftest import Brain
from tests.support.clones import Clone

pytestmark = pytest.mark.own_server


def execute(database: Clone, program: str, *words: str) -> None:
    path = database.server.psql.with_name(program)
    done = subprocess.run([str(path), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_owner_dump_and_restore_cover_every_tenant(database: Clone, unmigrated: Clone, tmp_path: Path) -> None:
    """The commands of the page for servers without a superuser keep the rows of all tenants, policies and grants."""
    dump = str(tmp_path / "somabrain.dump")
    async with open_store(database.app_dsn, DatabaseSettings()) as store:
        for tenant in ("a", "b"):
            brain = Brain(AppContext(store, {}, "lexical"), tenant_id("i", tenant), NamespaceName.of("n"))
            await brain.create()
            await brain.remember(f"Bees of {tenant} dance.")
    with psycopg.connect(unmigrated.owner_dsn) as owner:
        owner.execute("DROP TABLE IF EXISTS alembic_version")
    execute(database, "pg_dump", "--enable-row-security", "--format=custom", f"--file={dump}", database.owner_dsn)
    execute(unmigrated, "pg_restore", "--exit-on-error", "--no-comments", f"--dbname={unmigrated.owner_dsn}", dump)
    assert migrate(unmigrated.owner_dsn, DatabaseSettings(), lambda _: None).before is not None
    async with open_store(unmigrated.app_dsn, DatabaseSettings()) as store:
        for tenant in ("a", "b"):
            brain = Brain(AppContext(store, {}, "lexical"), tenant_id("i", tenant), NamespaceName.of("n"))
            assert await brain.recalled_texts("bees") == [f"Bees of {tenant} dance."]
