"""docs/backup.md: after a restore a new epoch begins, and cursors and tokens from before it are refused."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from somabrain_client import Change, MemoryClient
from somabrain_client.errors import FailedPreconditionError, OutOfRangeError
from somabrain_service.admin.embedded_postgres import EmbeddedDatabase
from somabrain_service.admin.migrations_folder import migrations_folder
from tests.integration.service.change_feed import changes, current_cursor
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import EMBEDDED, run, service
from tests.support.clones import Clone

RESTORED = "restored"


@pytest.fixture
def restored(database_server: EmbeddedDatabase) -> Iterator[Clone]:
    """The database that the backup is restored to; it does not exist before."""
    yield Clone(database_server, RESTORED)
    with psycopg.connect(database_server.superuser_dsn, autocommit=True) as superuser:
        superuser.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(RESTORED)))


def execute(database: Clone, program: str, *words: str) -> None:
    path = database.server.psql.with_name(program)
    done = subprocess.run([str(path), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def restore(dump: Path, into: Clone) -> None:
    """Restore a dump with exactly the commands of the page."""
    roles = {"owner": "somabrain_owner", "app": "somabrain_app", "worker": "somabrain_worker"}
    values = {"ON_ERROR_STOP": "1", "database": into.name, **roles} | {f"{role}_password": "" for role in roles}
    words = [f"--set={name}={value}" for name, value in values.items()]
    execute(
        into, "psql", "-X", "-q", *words, f"--file={migrations_folder() / 'bootstrap.sql'}", into.server.superuser_dsn
    )
    execute(into, "pg_restore", "--exit-on-error", f"--dbname={into.superuser_dsn}", str(dump))


async def test_restore_invalidates_earlier_cursors_and_tokens(
    folder: Path, settings: dict[str, object], database: Clone, restored: Clone, idp: Issuer, tmp_path: Path
) -> None:
    """Cursors and tokens from before a restore are refused, also once the namespace has as many versions as before.

    Without a new epoch a watch would then continue from the old cursor and would have missed as many changes.
    """
    token, dump = idp.token("backup"), tmp_path / "somabrain.dump"
    chosen = {**settings, "postgres_dsn": database.app_dsn, "worker_dsn": database.worker_dsn}
    with service(folder, chosen) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=token) as client:
            await client.create_namespace("log")
            backed_up = await client.remember("log", "kept by the backup")
            early = await current_cursor(client, "log")
            await asyncio.to_thread(
                execute, database, "pg_dump", "--format=custom", f"--file={dump}", database.superuser_dsn
            )
            lost = [await client.remember("log", f"lost {i}") for i in range(3)]
            late = await current_cursor(client, "log")
            consistency = lost[-1].consistency_token
    await asyncio.to_thread(restore, dump, restored)
    begun = run({"owner_dsn": restored.owner_dsn}, "new-epoch")
    assert begun.returncode == 0, begun.stderr
    assert "1 namespaces begin a new epoch" in begun.stderr
    chosen = {**settings, "postgres_dsn": restored.app_dsn, "worker_dsn": restored.worker_dsn}
    with service(folder, chosen) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=token) as client:
            answer = await client.recall("log", "backup")
            assert [hit.memory.name for hit in answer.hits] == [backed_up.name]
            new_cursor = await current_cursor(client, "log")
            written = [(await client.remember("log", f"after {i}")).name for i in range(5)]
            for cursor in (early, late):
                with pytest.raises(OutOfRangeError):
                    async with aclosing(client.watch("log", cursor=cursor)) as events:
                        await anext(events)
            with pytest.raises(FailedPreconditionError):
                await client.recall("log", "backup", consistency_token=consistency)
            new_changes = await changes(client, "log", new_cursor, 5)
            assert [change.name for change in new_changes if isinstance(change, Change)] == written


async def test_copied_embedded_data_dir_starts_a_new_epoch(own_folder: Path, folder: Path) -> None:
    data, copy = own_folder / "kept", own_folder / "kept-copy"
    with service(folder, EMBEDDED, "serve", "--embedded", "--data-dir", str(data)) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address) as client:
            await client.create_namespace("log")
            stored = await client.remember("log", "kept")
            cursor = await current_cursor(client, "log")
        assert running.stop() == 0
    await asyncio.to_thread(subprocess.run, ["cp", "-a", str(data), str(copy)], check=True)
    begun = await asyncio.to_thread(run, {}, "new-epoch", "--embedded", "--data-dir", str(copy))
    assert begun.returncode == 0, begun.stderr
    with service(folder, EMBEDDED, "serve", "--embedded", "--data-dir", str(copy)) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address) as client:
            assert [memory.name async for memory in client.list("log")] == [stored.name]
            with pytest.raises(OutOfRangeError):
                async with aclosing(client.watch("log", cursor=cursor)) as events:
                    await anext(events)
        assert running.stop() == 0
