"""Processes of the clients of one system, started, commanded and killed together."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers.client import System
from bench.peers.figures import Sample
from devcluster.environment import inherited, local_paths
from devcluster.errors import LocalError

REPLY_S = 600.0
BARRIER_S = 0.2
"""Time from a command to the start of its calls, so that it has reached every process by then."""
OFFLINE = {
    "ANONYMIZED_TELEMETRY": "False",  # chroma
    "MEM0_TELEMETRY": "False",
    "LANGSMITH_TRACING": "false",  # langchain, through which mem0 is handed vectors
    "HF_HUB_OFFLINE": "1",  # a package of the tokenizer; nothing is downloaded
}
"""The systems' own settings against telemetry."""


@dataclass
class ClientProcess:
    """One process, and the part of a reply read so far."""

    process: subprocess.Popen[bytes]
    log: Path
    unread: bytearray = field(default_factory=bytearray)

    def send(self, command: dict[str, object]) -> None:
        """Send a command."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def reply(self) -> dict[str, object]:
        """Return the next reply.

        Raises:
            LocalError: the command failed, the process ended, or there was no reply within REPLY_S.
        """
        assert self.process.stdout is not None
        ends_at = time.monotonic() + REPLY_S
        while b"\n" not in self.unread:
            if not select.select([self.process.stdout], [], [], max(ends_at - time.monotonic(), 0))[0]:
                raise LocalError(f"A client did not reply within {REPLY_S:g} s; its output:\n{self._output()}")
            chunk = self.process.stdout.read1(1 << 16)  # type: ignore[attr-defined] # a pipe's reader is buffered
            if not chunk:
                raise self._ended()
            self.unread += chunk
        line, _, self.unread = self.unread.partition(b"\n")
        reply: dict[str, object] = json.loads(line)
        if "error" in reply:
            raise LocalError(f"A client failed at {reply['error']}\n{self._output()}")
        return reply

    def _ended(self) -> LocalError:
        return LocalError(f"A client ended early; its output:\n{self._output()}")

    def _output(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").strip().splitlines()[-15:])


@dataclass
class ClientGroup:
    """Clients of one system, each a separate process."""

    processes: Sequence[ClientProcess]

    @property
    def pids(self) -> list[int]:
        """Process ids, in the order of the clients."""
        return [client.process.pid for client in self.processes]

    def connect(self, address: str, per_session: int) -> None:
        """Connect every client."""
        for client in self.processes:
            client.send({"address": address, "per_session": per_session})
        for client in self.processes:
            client.reply()

    def call(self, command: str, **fields: object) -> dict[str, object]:
        """Run a command in the first client, and return its reply."""
        self.processes[0].send({"command": command, **fields})
        return self.processes[0].reply()

    def fill(self, store: str, count: int, share: int) -> None:
        """Store `count` memories, each client `share` of them at a time."""
        starts = range(0, count, share)
        for turn in range(0, len(starts), len(self.processes)):
            busy = list(zip(self.processes, starts[turn:], strict=False))
            for client, start in busy:
                client.send({"command": "fill", "store": store, "start": start, "stop": min(start + share, count)})
            for client, _ in busy:
                client.reply()

    def run(self, clients: int, command: str, seconds: float, **fields: object) -> Sample:
        """Run a command in the first `clients` processes, which start at the same instant."""
        starts_at = time.monotonic() + BARRIER_S
        busy = self.processes[:clients]
        for client in busy:
            client.send({"command": command, "starts_at": starts_at, "seconds": seconds, **fields})
        return Sample.of([client.reply() for client in busy], seconds)


@contextmanager
def client_group(system: System, python: Path, data: Path, scratch: Path, count: int) -> Iterator[ClientGroup]:
    """Start the processes and import what they need; kill them at the end."""
    checkout = local_paths().checkout
    path = ":".join(str(folder) for folder in (checkout, checkout / "service"))
    processes: list[ClientProcess] = []
    try:
        for number in range(count):
            folder = scratch / f"{system}-{number}"
            folder.mkdir(exist_ok=True)
            command = [python, "-m", "bench.peers.client_process", system, data, folder, number, count]
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(
                    # They end with this process, however it ends.
                    ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
                    env=inherited(**OFFLINE, PYTHONPATH=path, MEM0_DIR=str(folder)),
                    cwd=folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
            processes.append(ClientProcess(process, folder / "log"))
        for client in processes:
            client.reply()
        yield ClientGroup(processes)
    finally:
        for client in processes:
            client.process.kill()
        for client in processes:
            client.process.wait()
            assert client.process.stdin is not None
            assert client.process.stdout is not None
            client.process.stdout.close()
            _close_quietly(client.process.stdin.close)


def _close_quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except BrokenPipeError:
        print("a client had ended before its last command", file=sys.stderr)
