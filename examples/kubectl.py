"""Access to the local cluster through `kubectl`, for the demo and the end-to-end tests."""

from __future__ import annotations

import sys
from pathlib import Path

from somabrain_client.kubectl import kubectl
from somabrain_client.kubectl.kubectl import CommandFailed, Object, run

__all__ = ["ROOT", "CommandFailed", "Kubectl", "Object", "run"]

ROOT = Path(__file__).parents[1]


class Kubectl(kubectl.Kubectl):
    """`kubectl` with administrator rights on one cluster."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(["--kubeconfig", str(kubeconfig)])
        self.kubeconfig = kubeconfig

    @classmethod
    def of_local_cluster(cls) -> Kubectl:
        """Return a client of the local cluster.

        Raises:
            CommandFailed: the cluster does not answer; the message tells how to create it.
        """
        kubectl = cls(Path(run(sys.executable, "-m", "devcluster", "kubeconfig", cwd=ROOT).strip()))
        try:
            kubectl("get", "--raw", "/readyz", "--request-timeout=5s", timeout_s=10)
        except CommandFailed as exc:
            raise CommandFailed(f"The local cluster does not answer; run `make cluster`. ({exc})") from exc
        return kubectl

    def ensure_namespace(self, name: str) -> None:
        """Create a namespace that enforces the restricted Pod Security profile."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply(name, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})

    def copy_secret(self, name: str, source: str, target: str) -> None:
        """Copy a Secret to another namespace; its content appears in no argument and no output."""
        secret = self.get(source, "secret", name)
        self.apply(
            target, {key: secret[key] for key in ("apiVersion", "kind", "type", "data")} | {"metadata": {"name": name}}
        )

    def token(self, namespace: str, account: str, audience: str = "somabrain") -> str:
        """Return a token of a ServiceAccount, valid for an hour; create the account if missing."""
        self.apply(namespace, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
        return self("create", "token", account, "-n", namespace, "--audience", audience, "--duration", "1h").strip()
