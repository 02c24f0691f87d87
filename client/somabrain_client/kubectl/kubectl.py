"""Wrapper of the program `kubectl`, so that its configuration, credential plugins and permissions apply."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Object = dict[str, Any]


class CommandFailed(Exception):
    """A program failed; the message is its error output."""


def run(*command: str | Path, stdin: str | None = None, timeout_s: float = 60, cwd: Path | None = None) -> str:
    """Run a local program and return its standard output.

    Raises:
        CommandFailed: the program is missing, failed, or took longer than `timeout_s`.
    """
    try:
        completed = subprocess.run(
            command, input=stdin, capture_output=True, text=True, cwd=cwd, timeout=timeout_s, check=False
        )
    except FileNotFoundError as exc:
        raise CommandFailed(f"{command[0]} is not in PATH; install it first.") from exc
    except subprocess.TimeoutExpired as exc:
        raise CommandFailed(f"`{' '.join(map(str, command))}` did not end within {timeout_s:g} s.") from exc
    if completed.returncode:
        raise CommandFailed((completed.stderr or completed.stdout).strip())
    return completed.stdout


class Kubectl:
    """`kubectl` with global flags that select cluster and user."""

    def __init__(self, flags: Sequence[str] = ()) -> None:
        self.flags = tuple(flags)

    def __call__(self, *arguments: str, stdin: str | None = None, timeout_s: float = 60) -> str:
        """Run kubectl and return its output."""
        return run("kubectl", *self.flags, *arguments, stdin=stdin, timeout_s=timeout_s)

    def get(self, namespace: str, *arguments: str) -> Object:
        """Return the JSON output of `kubectl get`: an object, or a list under `items`."""
        document: Object = json.loads(self("get", "-n", namespace, *arguments, "-o", "json"))
        return document

    def find(self, namespace: str, *arguments: str) -> Object | None:
        """Return an object, or None when it does not exist."""
        text = self("get", "-n", namespace, *arguments, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def apply(self, namespace: str, *manifests: Mapping[str, Any]) -> str:
        """Apply objects to a namespace."""
        manifest_list = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        return self("apply", "-n", namespace, "-f", "-", stdin=json.dumps(manifest_list))

    def run_interactive(self, *arguments: str) -> int:
        """Run kubectl on this terminal and return its exit code."""
        return subprocess.run(["kubectl", *self.flags, *arguments], check=False).returncode

    @contextmanager
    def forward(self, namespace: str, target: str, port: int) -> Iterator[str]:
        """Forward a free loopback port to `target` (such as `svc/name`) and yield the address `127.0.0.1:port`.

        Raises:
            CommandFailed: kubectl is missing or failed; the message gives the reason.
        """
        executable = shutil.which("kubectl")
        if executable is None:
            raise CommandFailed("kubectl is not in PATH; install it first.")
        process = subprocess.Popen(
            [executable, *self.flags, "port-forward", "-n", namespace, target, f":{port}", "--address", "127.0.0.1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            assert process.stderr is not None  # noqa: S101
            first_line = process.stdout.readline()
            match = re.search(r"127\.0\.0\.1:(\d+) ->", first_line)
            if match is None:
                process.terminate()
                raise CommandFailed(f"Port {port} of {target} cannot be reached: {process.stderr.read().strip()}")
            yield f"127.0.0.1:{match[1]}"
        finally:
            process.terminate()
            process.communicate()
