"""A standby of a PostgreSQL for one test: a copy that follows the primary's WAL, as providers set them up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from somabrain_service.admin.embedded_postgres import EmbeddedDatabase
from tests.support.waiting import eventually

PRIMARY_FILES = ("postmaster.pid", ".handle_pids.json", ".s.PGSQL.5432.lock", "log")
WAIT_S = 20.0


@dataclass(frozen=True)
class Standby:
    """A running standby, and how it and its primary are reached."""

    server: EmbeddedDatabase
    primary: EmbeddedDatabase

    def execute(self, query: str) -> object:
        """Run a query as the superuser, and return its first value."""
        with psycopg.connect(self.server.superuser_dsn, autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    def wait_until(self, query: str) -> None:
        """Wait until a query returns true on the standby."""
        eventually(lambda: self.execute(query), lambda value: value is True, query)


@contextmanager
def standby(primary: EmbeddedDatabase, folder: Path) -> Iterator[Standby]:
    """Copy the primary into `folder` while it runs, and follow it."""
    words = ["--pgdata", str(folder), "--write-recovery-conf", "--checkpoint=fast", "--dbname", primary.superuser_dsn]
    subprocess.run([str(primary.psql.with_name("pg_basebackup")), *words], check=True, capture_output=True)
    for name in PRIMARY_FILES:
        (folder / name).unlink(missing_ok=True)
    owner = primary.socket.stat()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)

    def control(*words: str) -> None:
        program = [str(primary.psql.with_name("pg_ctl")), "--pgdata", str(folder), "--wait", *words]
        subprocess.run(program, user=owner.st_uid, group=owner.st_gid, cwd=folder, check=True, capture_output=True)

    control("--log", str(folder / "log"), "--options", f"-h '' -k {folder}", "start")
    try:
        yield Standby(replace(primary, socket=folder), primary)
    finally:
        control("--mode=immediate", "stop")
