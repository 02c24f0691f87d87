"""The local cluster as the demo and the end-to-end tests use it: through `kubectl`, as a person would."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
Object = dict[str, Any]


class CommandFailed(Exception):
    """A program ended with an error; the message is what it said."""


def run(*words: str | Path, stdin: str | None = None, timeout_s: float = 60) -> str:
    """Run a program of this machine and return its output.

    Raises:
        CommandFailed: it is missing, failed, or took longer than `timeout_s`.
    """
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, cwd=ROOT, timeout=timeout_s, check=False
        )
    except FileNotFoundError as exc:
        raise CommandFailed(f"{words[0]} is not in PATH; run this by `make`, which puts it there.") from exc
    except subprocess.TimeoutExpired as exc:
        raise CommandFailed(f"`{' '.join(map(str, words))}` did not end within {timeout_s:g} s.") from exc
    if done.returncode:
        raise CommandFailed((done.stderr or done.stdout).strip())
    return done.stdout


@dataclass(frozen=True, slots=True)
class Kubectl:
    """`kubectl` with the administrator's rights on one cluster."""

    kubeconfig: Path

    @classmethod
    def of_local_cluster(cls) -> Kubectl:
        """Return the one of the local cluster.

        Raises:
            CommandFailed: there is none; says how to make it.
        """
        kubectl = cls(Path(run(sys.executable, "-m", "somabrain_local", "kubeconfig").strip()))
        try:
            kubectl("get", "--raw", "/readyz", "--request-timeout=5s", timeout_s=10)
        except CommandFailed as exc:
            raise CommandFailed(f"The local cluster does not answer; run `make cluster`. ({exc})") from exc
        return kubectl

    def __call__(self, *words: str, stdin: str | None = None, timeout_s: float = 60) -> str:
        """Run kubectl and return its output."""
        return run("kubectl", "--kubeconfig", self.kubeconfig, *words, stdin=stdin, timeout_s=timeout_s)

    def get(self, namespace: str, *words: str) -> Object:
        """Return what `kubectl get` shows, as data: an object, or a list under `items`."""
        found: Object = json.loads(self("get", "-n", namespace, *words, "-o", "json"))
        return found

    def find(self, namespace: str, *words: str) -> Object | None:
        """Return an object, or None when it is not there."""
        text = self("get", "-n", namespace, *words, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def apply(self, namespace: str, *manifests: Mapping[str, Any]) -> str:
        """Apply objects to a namespace."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        return self("apply", "-n", namespace, "-f", "-", stdin=json.dumps(listed))

    def ensure_namespace(self, name: str) -> None:
        """Make a namespace that enforces the restricted Pod Security profile."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply(name, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})

    def copy_secret(self, name: str, source: str, target: str) -> None:
        """Copy a Secret from one namespace to another; its content is in no argument and no output."""
        secret = self.get(source, "secret", name)
        self.apply(target, {key: secret[key] for key in ("apiVersion", "kind", "type", "data")} | {
            "metadata": {"name": name}
        })  # fmt: skip

    def token(self, namespace: str, account: str, audience: str = "somabrain") -> str:
        """Return a token of a ServiceAccount, made when it is not there, for an hour."""
        self.apply(namespace, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
        return self("create", "token", account, "-n", namespace, "--audience", audience, "--duration", "1h").strip()

    @contextmanager
    def forward(self, namespace: str, target: str, port: int) -> Iterator[str]:
        """Forward a free port of loopback to `target` (such as `svc/name`) and give `127.0.0.1:port`.

        Raises:
            CommandFailed: kubectl refused; says why.
        """
        program = shutil.which("kubectl")
        if program is None:
            raise CommandFailed("kubectl is not in PATH; run this by `make`, which puts it there.")
        process = subprocess.Popen(
            [program, "--kubeconfig", self.kubeconfig, "port-forward", "-n", namespace, target, f":{port}",
             "--address", "127.0.0.1"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            first = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+) ->", first)
            if found is None:
                process.terminate()
                raise CommandFailed(f"Port {port} of {target} cannot be reached: {process.stderr.read().strip()}")
            yield f"127.0.0.1:{found[1]}"
        finally:
            process.terminate()
            process.communicate()
