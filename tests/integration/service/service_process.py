"""The service as its image runs it: a separate process, found by the ports it logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import eventually

START_S = 30.0
END_S = 30.0
PYTHON = Path(sys.executable)
EMBEDDED = {"grpc__port": 0, "http__port": 0, "log__format": "json", "encoder__kind": "lexical"}
"""Settings of `serve --embedded`: free ports, and no encoder to load."""


@dataclass
class ServiceProcess:
    """A started process; `address` and `http` are known once it listens."""

    process: subprocess.Popen[bytes]
    log: Path
    address: str = ""
    http: str = ""

    def events(self, event: str) -> list[dict[str, object]]:
        """The log records with this event name."""
        records: list[dict[str, object]] = []
        for line in self.log.read_text().splitlines():
            if line.startswith("{"):
                record = json.loads(line)
                if record.get("event") == event:
                    records.append(record)
        return records

    def wait_for_event(self, event: str) -> dict[str, object]:
        """Wait until it logs `event`, and return the record; fail with the log if the process ends first."""

        def probe() -> list[dict[str, object]]:
            records = self.events(event)
            assert records or self.process.poll() is None, f"the service ended:\n{self.log.read_text()}"
            return records

        return eventually(probe, bool, f"it logged {event!r}; see {self.log}", START_S)[-1]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET."""
        try:
            with urllib.request.urlopen(self.http + path, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_until_ready(self, ready: bool = True, *, containing: str = "") -> None:
        """Wait until /ready reports this state and its answer contains `containing`."""

        def probe() -> tuple[int, str]:
            assert self.process.poll() is None, f"the service ended:\n{self.log.read_text()}"
            return self.get("/ready")

        def reached(answer: tuple[int, str]) -> bool:
            return answer[0] == (200 if ready else 503) and containing in answer[1]

        eventually(probe, reached, f"/ready is {'' if ready else 'not '}ready; see {self.log}", START_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(END_S)


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Return the variables of a service: `settings` with the prefix, and nothing from this process' environment."""
    own = {f"SOMABRAIN_{name.upper()}": str(value) for name, value in settings.items()}
    return {"PATH": os.defpath, "HOME": str(Path.home()), **own}


def command(*arguments: str, python: Path = PYTHON) -> list[str]:
    """The console script of a Python installation; the process is killed when its parent dies."""
    return ["setpriv", "--pdeathsig", "KILL", str(python.with_name("somabrain-service")), *arguments]


@contextmanager
def service(
    folder: Path, settings: Mapping[str, object], *arguments: str, python: Path = PYTHON
) -> Iterator[ServiceProcess]:
    """Start `somabrain-service serve` (or what `arguments` say) and wait until it listens; kill it at the end."""
    log = folder / f"service-{len(list(folder.glob('service-*.log')))}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command(*(arguments or ("serve",)), python=python), env=environment(settings), stdout=out, stderr=out
        )
    running = ServiceProcess(process, log)
    try:
        listening = running.wait_for_event("listening")
        running.address = f"{listening['host']}:{listening['grpc_port']}"
        running.http = f"http://127.0.0.1:{listening['http_port']}"
        yield running
    finally:
        process.kill()
        process.wait()


def run(settings: Mapping[str, object], *arguments: str, python: Path = PYTHON) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(*arguments, python=python),
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
