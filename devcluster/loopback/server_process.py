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
from contextlib import contextmanager
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
    """Return `count` different free ports, which no other call returns on this machine while this process lives.

    A port that is free now is not enough: of two processes that choose before either of them listens, one would fail.

    Raises:
        LocalError: not enough ports are free.
    """
    ports: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if len(ports) == count:
            return ports
        if _is_free(port) and _reserve(port):
            ports.append(port)
    raise LocalError(f"Not enough of the ports {PORTS.start} to {PORTS.stop - 1} are free: {count} are needed.")


_reservations: list[socket.socket] = []


def _reserve(port: int) -> bool:
    """Return whether `port` is now this process's: the kernel gives a name in the abstract namespace only once.

    The names are per network namespace, as ports are, and disappear with the process.
    """
    name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        name.bind(f"\0somabrain-port-{port}")
    except OSError:
        name.close()
        return False
    _reservations.append(name)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


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
