"""The test's side of the servers, of the standard library alone: the development environment runs them."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"
"""The development environment, which has the service."""


@dataclass(frozen=True, slots=True)
class Platform:
    """Running servers: a service, and another over the same database that limits a tenant to `quota` memories."""

    process: subprocess.Popen[str]
    address: str
    limited: str
    quota: int

    def run(self, command: str, **arguments: str) -> Any:
        """Run a command of `servers.py` and return its result."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self.process.stdin.flush()
        return _read(self.process)

    def token(self, tenant: str) -> str:
        """A bearer token of a tenant."""
        token: str = self.run("token", tenant=tenant)
        return token

    def restart(self) -> None:
        """Stop the service as Kubernetes does, and start it again at the same address."""
        assert self.run("restart") == 0


def unique(kind: str = "t") -> str:
    """Return the name of a tenant, namespace or session that no other test uses."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


@contextmanager
def running_platform() -> Iterator[Platform]:
    """Start the servers; they end with the block, or with this process."""
    command = ["setpriv", "--pdeathsig", "KILL", str(PYTHON), "-m", "tests.integrations.servers"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Platform(process, **_read(process))  # leaving the block closes its input, at which it ends


def _read(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the servers ended with code {process.wait(10)}; their messages are above"
    return json.loads(line)["result"]
