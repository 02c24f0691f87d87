"""The operator as its image runs it: a separate process, with the rights of its chart alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.metrics import read_metrics
from tests.support.waiting import eventually

END_S = 30.0
ENVIRONMENT = {
    "SOMABRAIN_HTTP__HOST": "127.0.0.1",
    "SOMABRAIN_HTTP__PORT": "0",
    "SOMABRAIN_OPERATOR__REFERENCE_POLL_INTERVAL_S": "2",
    "SOMABRAIN_OPERATOR__LEASE_NAME": "somabrain-system-somabrain-operator",
    "SOMABRAIN_OPERATOR__LEASE_NAMESPACE": "somabrain-system",
}


@dataclass(frozen=True)
class Operator:
    """A started operator."""

    process: subprocess.Popen[bytes]
    log: Path

    def events(self) -> list[dict[str, Any]]:
        """Return the events that it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def wait_until_started(self) -> None:
        """Wait until it handles events."""
        eventually(
            self.log.read_text,
            lambda log: "Initial authentication has finished." in log,
            f"the operator started; its log:\n{self.log.read_text()}",
        )

    def get(self, path: str) -> str:
        """Return the body of a GET on its HTTP port; KeyError while it does not serve yet."""
        ports = [each["http_port"] for each in self.events() if each["event"] == "HTTP server started"]
        if not ports:
            raise KeyError("the HTTP server has not started")
        (port,) = ports
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def metrics(self) -> dict[str, float]:
        """Return its metrics by name and labels, as they are written."""
        return read_metrics(self.get("/metrics"))

    def status(self, path: str) -> int:
        """Return the status of a GET on its HTTP port."""
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def body(self, path: str) -> str:
        """Return the body of a GET on its HTTP port, of any status."""
        try:
            return self.get(path)
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def stop(self) -> int:
        """Ask it to stop, as the kubelet does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_S)


@contextmanager
def operator(kubeconfig: Path, log: Path, **more: str) -> Iterator[Operator]:
    """Run the operator until the end of the block."""
    with _started(["somabrain_operator"], kubeconfig, log, more) as started:
        yield started


@contextmanager
def former_operator(python: Path, kubeconfig: Path, log: Path) -> Iterator[Operator]:
    """Run the operator of the previous version, which `python` imports, until the end of the block."""
    former = {"SOMABRAIN_OPERATOR__REFERENCES_S": ENVIRONMENT["SOMABRAIN_OPERATOR__REFERENCE_POLL_INTERVAL_S"]}
    unknown = ("SOMABRAIN_OPERATOR__REFERENCE_POLL_INTERVAL_S",)
    with _started(["somabrain_operator"], kubeconfig, log, former, python=str(python), unset=unknown) as started:
        yield started


@contextmanager
def plain_operator(kubeconfig: Path, log: Path) -> Iterator[Operator]:
    """Run the plain kopf operator of the benchmark until the end of the block."""
    words = [
        "kopf",
        "run",
        "--standalone",
        "--all-namespaces",
        "--log-format",
        "json",
        "-m",
        "bench.plain_kopf_operator",
    ]
    with _started(words, kubeconfig, log, {}) as started:
        yield started


@contextmanager
def _started(
    words: Sequence[str],
    kubeconfig: Path,
    log: Path,
    more: Mapping[str, str],
    *,
    python: str = sys.executable,
    unset: Sequence[str] = (),
) -> Iterator[Operator]:
    env: Mapping[str, str] = {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), **ENVIRONMENT, **more}  # noqa: TID251 - a child's environment
    with log.open("wb") as file:
        process = subprocess.Popen(
            [python, "-m", *words],
            env={name: value for name, value in env.items() if name not in unset},
            stdout=file,
            stderr=file,
            cwd=log.parent,
        )
    try:
        yield Operator(process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
