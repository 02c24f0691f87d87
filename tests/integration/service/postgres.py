"""A migrated PostgreSQL in a separate process, so that a test can kill and restart it.

As a program: `python -m tests.integration.service.postgres FOLDER` prints the DSN of the app role once it serves, and
ends when its standard input does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.config.settings import DatabaseSettings
from somabrain_service.admin.embedded_postgres import embedded_database
from somabrain_service.admin.migrate import migrate


class Postgres:
    """A server over one folder, which can be started again after a kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Serve, and return the DSN of the app role."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self._folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        dsn = self._process.stdout.readline().decode().strip()
        assert dsn, "PostgreSQL did not start"
        return dsn

    def kill(self) -> None:
        """Kill it with SIGKILL, and the process that started it as well; its backends exit when they detect it."""
        postmaster = int((self._folder / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGKILL)
        self._end(kill=True)
        # Until the first process of the machine has collected it, it counts as running.
        ends_at = time.monotonic() + 10
        while Path(f"/proc/{postmaster}").exists():
            assert time.monotonic() < ends_at, f"process {postmaster} is not collected"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it cleanly, if it runs."""
        self._end(kill=False)

    def _end(self, *, kill: bool) -> None:
        if self._process is not None:
            if kill:
                self._process.kill()
            self._process.communicate(timeout=60)
            self._process = None


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """A server over `folder` that the block can start and kill; it is stopped at the end of the block."""
    server = Postgres(folder)
    try:
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    with embedded_database(Path(sys.argv[1]), DatabaseSettings()) as running:
        migrate(running.owner_dsn, running.database, lambda _: None)
        print(running.app_dsn, flush=True)
        sys.stdin.read()
