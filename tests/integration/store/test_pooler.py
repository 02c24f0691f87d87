"""A pooler may give each client a session, not each transaction; tested with a real PgBouncer."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from common.config.settings import DatabaseSettings
from common.errors import StoreUnavailable
from devcluster.loopback.server_process import free_ports, tool
from somabrain_service.admin.migrate import migrate
from somabrain_service.admin.owner_connection import OwnerFailed
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.encoders.minilm import ENCODER_ID
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.store.maintenance import Shard
from somabrain_service.store.open import open_store, open_worker_store
from somabrain_service.store.postgres.driver import session
from somabrain_service.store.postgres.driver.connect import open_pool
from somabrain_service.store.postgres.driver.errors import UnsuitableSession
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql
from tests.integration.store.conftest import Brain
from tests.support.clones import Clone

pytestmark = pytest.mark.own_server


@dataclass(frozen=True)
class Pooler:
    """A running PgBouncer, with its configuration file."""

    port: int
    settings: Path
    process: subprocess.Popen[bytes]

    def dsn(self, role: str, database: Clone) -> str:
        """Return the DSN of a role through it."""
        return f"postgresql://somabrain_{role}@127.0.0.1:{self.port}/{database.name}"

    def reload(self, before: str, now: str) -> None:
        """Replace a part of the configuration, and let the process read it."""
        self.settings.write_text(self.settings.read_text().replace(before, now))
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def pooler(database: Clone, mode: str, size: int = 3) -> Iterator[Pooler]:
    """Start PgBouncer before the database's server."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="somabrain-pooler-") as folder:
        Path(folder).chmod(0o755)
        users, settings = Path(folder, "users.txt"), Path(folder, "pgbouncer.ini")
        roles = ("somabrain_owner", "somabrain_app", "somabrain_worker")
        users.write_text("".join(f'"{role}" ""\n' for role in roles))
        settings.write_text(
            f"[databases]\n* = host={database.server.socket}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = {mode}\n"
            f"default_pool_size = {size}\n"
        )
        # It does not run as root, and only the server's user gets at the socket.
        user = database.server.socket.stat().st_uid if os.getuid() == 0 else None
        process = subprocess.Popen([tool("pgbouncer"), "-q", str(settings)], user=user, stderr=subprocess.DEVNULL)
        try:
            ends_at = time.monotonic() + 20
            while time.monotonic() < ends_at:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield Pooler(port, settings, process)
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize("size", [1, 3])
async def test_transaction_pooler_is_refused_with_remedy(database: Clone, size: int) -> None:
    """The app's, the worker's and the owner's DSN through one are refused at the first connection, with the remedy."""
    with pooler(database, "transaction", size) as pgbouncer:
        settings = DatabaseSettings(connect_timeout_s=2)
        async with open_store(pgbouncer.dsn("app", database), settings) as store:
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="pool_mode = session"):
                    await store.schema_state()
        async with open_worker_store(pgbouncer.dsn("worker", database), settings) as workers:
            with pytest.raises(StoreUnavailable, match="pool_mode = session"):
                async with workers.acquire("test", Shard(0, 1)):
                    pass
        with pytest.raises(OwnerFailed, match="pool_mode = session"):
            await asyncio.to_thread(migrate, pgbouncer.dsn("owner", database), settings, lambda _: None)


async def test_session_pooler_is_supported(database: Clone, minilm: OnnxEncoder) -> None:
    """App, worker and owner work through a pooler of sessions, with the settings that they need."""
    with pooler(database, "session", 8) as pgbouncer:
        await asyncio.to_thread(migrate, pgbouncer.dsn("owner", database), DatabaseSettings(), lambda _: None)
        async with open_store(pgbouncer.dsn("app", database), DatabaseSettings(pool_size=4)) as store:
            assert (await store.schema_state()).compatible
            services = AppContext(store, {ENCODER_ID: minilm}, ENCODER_ID)
            brain = Brain(services, tenant_id("i", "t"), NamespaceName.of("notes"))
            await brain.create()
            await asyncio.gather(*(brain.remember(f"Bee {number} dances.") for number in range(40)))
            assert len((await brain.recall("bees")).hits) > 1
        async with open_pool(pgbouncer.dsn("app", database), DatabaseSettings(statement_timeout_s=7)) as pool:
            connection = await pool.acquire()
            assert (await connection.execute(sql("SHOW statement_timeout"))).scalar_one() == "7s"
            await pool.release(connection)
        async with (
            open_worker_store(pgbouncer.dsn("worker", database), DatabaseSettings()) as workers,
            workers.acquire("test", Shard(0, 1)) as acquired,
        ):
            assert acquired is not None


async def test_background_jobs_detect_a_pooler_mode_change(database: Clone) -> None:
    """A worker's connection checks the pooler each time, since a lock would stay in a session that others are given."""
    with pooler(database, "session") as pgbouncer:
        settings = DatabaseSettings(connect_timeout_s=2)
        async with open_worker_store(pgbouncer.dsn("worker", database), settings) as workers:
            async with workers.acquire("test", Shard(0, 1)) as acquired:
                assert acquired is not None
            pgbouncer.reload("pool_mode = session", "pool_mode = transaction")
            await asyncio.sleep(1)  # PgBouncer reports nowhere that it has read its configuration
            with pytest.raises(StoreUnavailable, match="pool_mode = session"):
                async with workers.acquire("test", Shard(0, 1)):
                    pass


async def test_prepared_statement_of_another_connection_is_never_executed(database: Clone) -> None:
    """If a session moves to another connection nevertheless, a statement fails, and no other one runs instead."""
    with pooler(database, "transaction", 1) as pgbouncer:
        dsn = pgbouncer.dsn("app", database)
        drivers = [await psycopg.AsyncConnection.connect(dsn, autocommit=True) for _ in range(2)]
        one, two = map(Connection, drivers)
        assert (await one.execute(sql("SELECT CAST(:n AS int) + 1"), {"n": 1})).scalar_one() == 2
        assert (await two.execute(sql("SELECT CAST(:n AS int) + 2"), {"n": 1})).scalar_one() == 3
        assert (await one.execute(sql("SELECT CAST(:n AS int) + 1"), {"n": 1})).scalar_one() == 2
        with psycopg.connect(database.superuser_dsn, autocommit=True) as superuser:
            superuser.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'somabrain_app'")
        await asyncio.sleep(0.2)
        with pytest.raises(UnsuitableSession) as caught:
            await one.execute(sql("SELECT CAST(:n AS int) + 1"), {"n": 1})
        assert (caught.value.message, one.lost) == (session.SHARED, True)
        for driver in drivers:
            await driver.close()
