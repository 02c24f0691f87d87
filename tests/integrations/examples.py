"""Running the examples as their readers do, in the environment of the test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.integrations.platform import ROOT, Platform, unique


def run_example(name: str, platform: Platform, folder: Path) -> list[str]:
    """Run an example twice as one new tenant, and return what each run printed."""
    token = folder / "token"
    token.write_text(platform.token(unique()))
    outputs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", ROOT / "examples" / "integrations" / name, platform.address, token],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    return outputs
