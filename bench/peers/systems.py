"""Servers of the systems, each started as its users start it, with its data in a folder that survives a restart."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.peers.client import System
from bench.peers.client_group import OFFLINE
from bench.server import somabrain, trivial
from common.config.settings import DatabaseSettings
from devcluster.environment import inherited
from devcluster.errors import LocalError
from somabrain_service.admin.embedded_postgres import embedded_database

START_S = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """Running server. `process` None: the system is a library, so its clients do the work."""

    address: str
    process: int | None
    postgres: Path | None = None
    """Data directory of its PostgreSQL, if it has one."""


@contextmanager
def running(system: System, folder: Path, programs: Path) -> Iterator[Running]:
    """Start a system's server with its data in `folder`, and stop it at the end. `programs`: those of the peers."""
    match system:
        case System.EMPTY:
            with trivial() as server:
                yield Running(server.address, server.process.pid)
        case System.PRODUCT:
            with somabrain(["serve", "--embedded", "--data-dir", str(folder / "data")], {}) as server:
                yield Running(server.address, server.process.pid, folder / "data")
        case System.CHROMA:
            with _chroma(folder, programs) as (address, process):
                yield Running(address, process)
        case System.MEM0:
            with embedded_database(folder / "data", DatabaseSettings()) as database:
                yield Running(database.superuser_dsn, None, folder / "data")


@contextmanager
def _chroma(folder: Path, programs: Path) -> Iterator[tuple[str, int]]:
    port, log = _free_port(), folder / "log"
    arguments = ["run", "--path", folder / "data", "--host", "127.0.0.1", "--port", port]
    with log.open("ab") as output:
        # It ends with this process, however it ends.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *map(str, [programs / "chroma", *arguments])],
            env=inherited(**OFFLINE),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_it_listens(process, port, log)
        yield f"127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            print("chroma did not stop within 10 s and is killed", file=sys.stderr)
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends_at = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < ends_at:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise LocalError(f"chroma did not start within {START_S:g} s; its output:\n{log.read_text(errors='replace')}")
