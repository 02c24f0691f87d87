"""DSNs of PostgreSQL in files that change while the service runs, with a real PostgreSQL that requires passwords."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from somabrain_client import MemoryClient
from tests.integration.passwords import close_connections, passwords_required, set_password, with_password
from tests.integration.service.issuer import Issuer
from tests.integration.service.namespaces import unique
from tests.integration.service.service_process import EMBEDDED, ServiceProcess, service
from tests.support.clones import Clone
from tests.support.waiting import until

APP, WORKER = "somabrain_app", "somabrain_worker"


@pytest.fixture
def password_database(database: Clone) -> Iterator[Clone]:
    """A database that requires passwords."""
    with passwords_required(database, APP, WORKER):
        yield database


@pytest.fixture
def rotating(
    password_database: Clone, settings: dict[str, object], folder: Path, tmp_path: Path
) -> Iterator[ServiceProcess]:
    """A running service whose DSNs are files in `tmp_path`, with the password `first`."""
    set_passwords(password_database, tmp_path, "first")
    without = {name: value for name, value in settings.items() if name != "postgres_dsn"}
    with service(folder, {**without, "secrets_dir": tmp_path, "workers__sweep_interval_s": 0.2}) as running:
        running.wait_until_ready()
        yield running


def write_files(password_database: Clone, secrets: Path, password: str) -> None:
    (secrets / "SOMABRAIN_POSTGRES_DSN").write_text(with_password(password_database.app_dsn, password))
    (secrets / "SOMABRAIN_WORKER_DSN").write_text(with_password(password_database.worker_dsn, password))


def set_passwords(password_database: Clone, secrets: Path, password: str) -> None:
    for role in (APP, WORKER):
        set_password(password_database, role, password)
    write_files(password_database, secrets, password)


def memories(password_database: Clone) -> int:
    with psycopg.connect(password_database.owner_dsn) as owner:
        row = owner.execute("SELECT count(*) FROM memories").fetchone()
    assert row is not None
    return int(row[0])


async def test_rotated_password_is_used_by_calls_and_background_jobs(
    rotating: ServiceProcess, password_database: Clone, tmp_path: Path, idp: Issuer
) -> None:
    """Once the files have the new password, new connections of both roles use it, for calls and for the expiry job."""
    async with MemoryClient(rotating.address, token=idp.token("rotating")) as client:
        namespace = (await client.create_namespace(unique())).name
        for role in (APP, WORKER):
            set_password(password_database, role, "second")
            close_connections(password_database, role)
        rotating.wait_until_ready(False, containing="password authentication failed")
        write_files(password_database, tmp_path, "second")
        rotating.wait_until_ready()
        kept = await client.remember(namespace, "kept")
        await client.remember(namespace, "short", ttl=timedelta(milliseconds=1))
        assert [hit.memory.name for hit in (await client.recall(namespace, "kept")).hits] == [kept.name]
    until(lambda: memories(password_database) == 1, "the expired memory is removed by the worker role")
    log = rotating.log.read_text()
    assert "DSN loaded again" in log
    assert ":second@" not in log


async def test_invalid_dsn_file_keeps_the_previous_dsn(
    rotating: ServiceProcess, password_database: Clone, tmp_path: Path, idp: Issuer
) -> None:
    """A file without a URL is reported in the log, without its content, and new connections use the previous DSN."""
    (tmp_path / "SOMABRAIN_POSTGRES_DSN").write_text("not-a-url but-a-secret")
    rejected = rotating.wait_for_event("changed DSN rejected, the former one stays in use")
    assert rejected["reason"] == "postgres_dsn: is not a libpq URL"
    close_connections(password_database, APP)
    rotating.wait_until_ready()
    async with MemoryClient(rotating.address, token=idp.token("rotating")) as client:
        await client.create_namespace(unique())
    assert "but-a-secret" not in rotating.log.read_text()


def test_embedded_server_ignores_dsn_files(own_folder: Path, tmp_path: Path) -> None:
    """`serve --embedded` serves from its own PostgreSQL, although a file names another server."""
    (tmp_path / "SOMABRAIN_POSTGRES_DSN").write_text("postgresql://app@127.0.0.1:1/elsewhere")
    data = ("--data-dir", str(own_folder / "embedded-rotation"))
    with service(tmp_path, {**EMBEDDED, "secrets_dir": tmp_path}, "serve", "--embedded", *data) as running:
        running.wait_until_ready()
        assert not running.events("DSN loaded again")
