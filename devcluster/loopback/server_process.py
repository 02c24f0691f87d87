"""Lifecycle of one server process on loopback: start, wait until ready, stop, freeze, restart."""

from __future__ import annotations

import random
import signal
import socket
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devcluster import shell
from devcluster.environment import inherited, local_paths
from devcluster.errors import LocalError, Timeout

HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0
PORTS = range(16384, 30000)
"""Ports below Linux's ephemeral range: a client that reconnects to a stopped server would otherwise occasionally be
assigned the server's own port, and connect to itself. Also below the NodePort range."""


@dataclass(slots=True)
class ServerProcess:
    """Server with its readiness check. Restarted, it has the same address and data.

    It dies with the thread that started it: restart it from a thread that lives long enough.
    """

    argv: Sequence[object]
    log: Path
    answers: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    start_timeout_s: float = START_TIMEOUT_S
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id, for signals sent by a test.

        Raises:
            LocalError: it is not running.
        """
        if self._process is None:
            raise LocalError(f"{self.log.stem} is not running.")
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it is ready.

        Raises:
            Timeout: it ended, or was not ready in time; the message ends with its log.
            LocalError: it is already running.
        """
        if self._process is not None:
            raise LocalError(f"{self.log.stem} is already running.")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, self.argv)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=tools_in_path(**self.env),
            )
        try:
            what = f"{self.log.stem} did not become ready"
            shell.wait_until(self._answers, what=what, timeout_s=self.start_timeout_s, every_s=0.1)
        except Timeout as error:
            self.stop()
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-shell.TAIL_LINES :])
            raise Timeout(f"{error} The end of its log:\n{tail}") from error

    def stop(self, signal_number: int = signal.SIGKILL) -> None:
        """Send it `signal_number`, and return when it has ended; idempotent.

        KILL by default, because no data outlives a test; TERM if a test needs its data flushed.
        """
        if self._process is not None:
            self._process.send_signal(signal_number)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Make it hang: connections stay open without responses until `thaw`."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume it after `freeze`."""
        self._running().send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kill and start it."""
        self.stop()
        self.start()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise LocalError(f"{self.log.stem} is not running.")
        return self._process

    def _answers(self) -> bool:
        if (status := self._running().poll()) is not None:
            raise Timeout(f"{self.log.stem} ended with {status}.")
        return self.answers()


@contextmanager
def running(process: ServerProcess) -> Iterator[ServerProcess]:
    """Start `process`, and stop it at the end of the block."""
    try:
        process.start()
        yield process
    finally:
        process.stop()


@contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """Create a folder for a server's files, removed at the end of the block."""
    with tempfile.TemporaryDirectory(prefix=f"somabrain-{name}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def tool(name: str) -> Path:
    """Return the path of a pinned tool's binary.

    Raises:
        LocalError: it is missing; the message has the command that builds it.
    """
    binary = local_paths().bin / name
    if not binary.exists():
        raise LocalError(f"{name} is missing: run `python3 -m devcluster tools {name}`.")
    return binary


def tools_in_path(**extra: str) -> dict[str, str]:
    """Return this process's environment with the pinned tools first in PATH, overridden by `extra`."""
    return inherited(PATH=f"{local_paths().bin}:{inherited()['PATH']}", **extra)


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that are free at this moment.

    Raises:
        LocalError: not enough ports are free.
    """
    with ExitStack() as stack:
        ports: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            each = stack.enter_context(socket.socket())
            try:
                each.bind((HOST, port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise LocalError(f"Not enough of the ports {PORTS.start} to {PORTS.stop - 1} are free: {count} are needed.")


def http_answers(url: str, trust: ssl.SSLContext | None = None, token: str = "") -> Callable[[], bool]:
    """Return a function that checks whether `url` responds with status 200."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))

    def answers() -> bool:
        try:
            with opener.open(request, timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return answers
