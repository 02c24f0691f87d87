"""Open Policy Agent with the policies of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devcluster.loopback.server_process import (
    ServerProcess,
    free_ports,
    http_answers,
    running,
    temporary_folder,
    tool,
)


@dataclass(frozen=True, slots=True)
class Opa:
    """Open Policy Agent on loopback."""

    url: str
    process: ServerProcess

    def stop(self) -> None:
        """Kill it, for tests of its absence; idempotent."""
        self.process.stop()


@contextmanager
def opa(policies: Path) -> Iterator[Opa]:
    """Start OPA with the policies (not their tests) of a folder, and stop it at the end of the block.

    Raises:
        LocalError: the binary is missing; the message has the command that builds it.
        Timeout: it did not become healthy (a policy may not compile); the message ends with its log.
    """
    with temporary_folder("opa") as folder:
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        argv = [tool("opa"), "run", "--server", f"--addr=127.0.0.1:{port}", "--log-level=error"]
        process = ServerProcess(
            [*argv, "--ignore=*_test.rego", policies], folder / "opa.log", http_answers(f"{url}/health")
        )
        with running(process):
            yield Opa(url, process)
