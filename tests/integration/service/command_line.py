"""The client's command `somabrain` as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("somabrain")


def run(
    command: list[str | bytes] | list[str], *, stdin: bytes = b"", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, with these environment variables only; it prints no traceback."""
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", **variables}
    done = subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=60, check=False)
    assert b"Traceback" not in done.stderr
    return done
