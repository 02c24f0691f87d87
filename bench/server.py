"""Servers to measure, each a separate process on loopback, and their processor times."""

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
    """Server process and its addresses."""

    address: str
    process: subprocess.Popen[bytes]
    http: str = ""

    def metric(self, name: str) -> float:
        """Return the current value of a metric without labels."""
        with urllib.request.urlopen(f"{self.http}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))

    def first_metric(self, names: Sequence[str], default: float = 0.0) -> float:
        """Return the first metric of `names` that the server has, or the default; revisions differ in names."""
        with urllib.request.urlopen(f"{self.http}/metrics", timeout=5) as response:
            values = dict(line.rsplit(" ", 1) for line in response.read().decode().splitlines() if line[:1] != "#")
        return next((float(values[name]) for name in names if name in values), default)

    def cpu_s(self) -> float:
        """Return the user and system time of the process so far in seconds, including its threads."""
        return cpu_s(self.process.pid)


def postgres_cpu_s(folder: Path) -> float:
    """Return the processor time of the PostgreSQL server of a folder so far in seconds, with all its processes."""
    postmaster = (folder / "postmaster.pid").read_text().split()[0]
    fields = stat(postmaster)
    ticks = sum(int(field) for field in fields[11:15])
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = stat(entry.name)
            except FileNotFoundError:  # it ended meanwhile, and is included in its parent's time
                continue
            if fields[1] == postmaster:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


@contextmanager
def somabrain(arguments: list[str], settings: Mapping[str, object], python: Path | None = None) -> Iterator[Server]:
    """Start `somabrain-service` with `arguments` on free ports, wait until it is ready, and stop it at the end.

    `python` is the interpreter of the revision to run; None: the current one.
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
    """Return the gRPC address and the HTTP URL of probes and metrics, once /ready responds with status 200."""
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
        time.sleep(0.02)
    sys.exit(f"The server was not ready within {START_S:g} s:\n{log.read_text()}")


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError:
        return False


@contextmanager
def trivial() -> Iterator[Server]:
    """Run the trivial handler, in a separate process like the service."""
    script = Path(__file__).with_name("trivial_server.py")
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield Server(process.stdout.readline().decode().strip(), process)
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
