"""Servers to measure, each a process of its own on loopback, and what they cost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import TICKS, cpu_s, stat

START_S = 120.0


@dataclass(frozen=True)
class Server:
    """A process that listens."""

    address: str
    process: subprocess.Popen[bytes]
    http: str = ""

    def metric(self, name: str) -> float:
        """A metric without labels, as it is now."""
        with urllib.request.urlopen(f"{self.http}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))

    def first_metric(self, names: Sequence[str]) -> float:
        """The metric that the server has under one of these names, those of another revision; 0: under none."""
        with urllib.request.urlopen(f"{self.http}/metrics", timeout=5) as response:
            values = dict(line.rsplit(" ", 1) for line in response.read().decode().splitlines() if line[:1] != "#")
        return next((float(values[name]) for name in names if name in values), 0.0)

    def cpu_s(self) -> float:
        """User and system time of the process so far, its threads included."""
        return cpu_s(self.process.pid)


def postgres_cpu_s(folder: Path) -> float:
    """Time of the PostgreSQL server of a folder so far: its back-ends, those that are gone, and its own processes."""
    postmaster = (folder / "postmaster.pid").read_text().split()[0]
    fields = stat(postmaster)
    ticks = sum(int(field) for field in fields[11:15])
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = stat(entry.name)
            except FileNotFoundError:  # it ended meanwhile, and is counted as its parent's
                continue
            if fields[1] == postmaster:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


@contextmanager
def somabrain(arguments: list[str], settings: Mapping[str, object], python: Path | None = None) -> Iterator[Server]:
    """Run `somabrain-service` with `arguments`, on free ports, until it is ready; stop it at the end.

    `python`: the interpreter of the revision to run; None: this one.
    """
    folder = Path(tempfile.mkdtemp(prefix="somabrain-bench-"))
    log = folder / "log"
    free = {"grpc__port": 0, "http__host": "127.0.0.1", "http__port": 0}
    chosen = {**free, "log__format": "json", **settings}
    env = {"PATH": f"{os.defpath}:/usr/sbin", "HOME": str(Path.home())}
    env |= {f"SOMABRAIN_{name.upper()}": str(value) for name, value in chosen.items()}
    script = (python or Path(sys.executable)).with_name("somabrain-service")
    with log.open("wb") as out:
        process = subprocess.Popen([script, *arguments], env=env, stdout=out, stderr=out)
    try:
        address, http = _wait(process, log)
        yield Server(address, process, http)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder)


def _wait(process: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    """Return the address, and that of probes and metrics, once /ready says so."""
    ends_at = time.monotonic() + START_S
    while time.monotonic() < ends_at:
        if process.poll() is not None:
            sys.exit(f"The server ended with {process.returncode}:\n{log.read_text()}")
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                record = json.loads(line)
                http = f"http://127.0.0.1:{record['http_port']}"
                if _ready(f"{http}/ready"):
                    return f"127.0.0.1:{record['grpc_port']}", http
        time.sleep(0.1)
    sys.exit(f"The server was not ready within {START_S:g} s:\n{log.read_text()}")


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError:
        return False


@contextmanager
def trivial() -> Iterator[Server]:
    """Run the handler that does nothing, in the same process model."""
    script = Path(__file__).with_name("trivial_server.py")
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield Server(process.stdout.readline().decode().strip(), process)
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
