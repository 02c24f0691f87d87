"""`serve --embedded` after kills, with a shared folder, and with another user's lock file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from somabrain_client import MemoryClient
from tests.integration.service.service_process import EMBEDDED, service


def postmaster(data: Path) -> int | None:
    """The process id of the server over the folder, or None if there is no such process."""
    file = data / "postmaster.pid"
    pid = int(file.read_text().splitlines()[0]) if file.exists() else None
    return pid if pid is not None and Path(f"/proc/{pid}").exists() else None


async def test_restart_after_kill_recovers_data_and_stops_postgres(folder: Path) -> None:
    data = folder / "killed"
    arguments = ("serve", "--embedded", "--data-dir", str(data))
    with service(folder, EMBEDDED, *arguments) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address) as client:
            await client.create_namespace("notes")
            memory = await client.remember("notes", "kept before the kill")
        assert running.stop(signal.SIGKILL) == -signal.SIGKILL
    left = postmaster(data)
    assert left is not None
    with service(folder, EMBEDDED, *arguments) as running:
        running.wait_until_ready()
        assert postmaster(data) == left
        async with MemoryClient(running.address) as client:
            assert (await client.get(memory.name)).text == "kept before the kill"
        assert running.stop() == 0
    assert postmaster(data) is None


async def test_shared_data_dir_keeps_server_until_last_process_exits(folder: Path) -> None:
    data = folder / "shared"
    arguments = ("serve", "--embedded", "--data-dir", str(data))
    with service(folder, EMBEDDED, *arguments) as first, service(folder, EMBEDDED, *arguments) as second:
        first.wait_until_ready()
        second.wait_until_ready()
        async with MemoryClient(first.address) as one, MemoryClient(second.address) as two:
            await one.create_namespace("notes")
            memory = await one.remember("notes", "written by the first")
            assert (await two.get(memory.name)).text == "written by the first"
            assert first.stop() == 0
            assert (await two.get(memory.name)).text == "written by the first"
        assert second.stop() == 0
    assert postmaster(data) is None


FORK = """
import os, subprocess
import grpc
import somabrain_service.admin.embedded_postgres
server = grpc.server(None)
server.add_insecure_port("127.0.0.1:0")
server.start()
subprocess.run(["true"], user=os.getuid(), check=True)
server.stop(None)
"""


def test_postgres_programs_start_without_grpc_fork_handlers() -> None:
    """Programs of PostgreSQL are started without a fork, since gRPC's fork handlers may crash the new process."""
    log = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True).stderr
    assert "fork" not in log


OPEN = """
import sys
from pathlib import Path
from common.config.settings import DatabaseSettings
from somabrain_service.admin.embedded_postgres import embedded_database

with embedded_database(Path(sys.argv[1]), DatabaseSettings()):
    print("it runs")
"""


def test_foreign_lock_file_in_temp_dir_does_not_block_startup(tmp_path: Path) -> None:
    """The server starts although a folder, which even root cannot open, replaces the wheel's lock file."""
    (tmp_path / ".lockfile").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(tmp_path / "data")],
        env={"PATH": os.defpath, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "it runs\n"), done.stderr
    assert "Traceback" not in done.stderr
