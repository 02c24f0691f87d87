"""Real servers as plain processes on 127.0.0.1, for integration tests.

    with api_server() as api, opa(Path("common/policy")) as policy: ...

They need neither root nor a cluster. Each dies with the thread that started it,
even when that is killed, and leaves nothing but a folder in the temp directory.
There is no controller-manager, scheduler or kubelet behind the API: objects are
stored, validated and watched, and nothing acts on them.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from somabrain_local import shell
from somabrain_local.environment import places
from somabrain_local.errors import LocalError, Timeout
from somabrain_local.pki import Authority

START_TIMEOUT_S = 60.0
AUDIT_POLICY = Path(__file__).parent / "manifests" / "audit.yaml"


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A Kubernetes API that answers on loopback."""

    url: str
    kubeconfig: Path
    """Of a member of system:masters."""
    ca_file: Path
    token: str = field(repr=False)
    """A bearer token of a member of system:masters."""
    jwks_url: str
    """The keys of the service-account issuer; reading them needs a token."""
    issuer: str
    """The `iss` of service-account tokens."""
    audit_log: Path
    """One JSON event a line, at level Metadata."""


@dataclass(frozen=True, slots=True)
class Opa:
    """An Open Policy Agent that answers on loopback."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Kill it, as a test of its absence needs; more than once does no harm."""
        self.process.kill()
        self.process.wait()


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """Start etcd and kube-apiserver, and stop them at the end of the block.

    Raises:
        LocalError: a binary is missing; the message has the command that makes it.
        Timeout: the API did not become ready; the message ends with its log.
    """
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="somabrain-api-", ignore_cleanup_errors=True))
        )
        client, peer, port = _free_ports(3)
        etcd_url, peer_url, url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}", f"https://127.0.0.1:{port}"
        stack.enter_context(_process("etcd", folder, [
            "--data-dir", f"{folder}/etcd", "--unsafe-no-fsync", "--log-level", "warn",
            "--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url,
            "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
            "--initial-cluster", f"default={peer_url}",
        ]))  # fmt: skip
        authority = Authority.create(folder / "pki")
        authority.issue_server("apiserver", "/CN=kube-apiserver", ["DNS:localhost", "IP:127.0.0.1"])
        authority.issue_client("admin", "/O=system:masters/CN=admin")
        authority.make_service_account_key()
        token, pki = secrets.token_urlsafe(24), authority.folder
        (pki / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
        (folder / "kubeconfig").write_text(authority.kubeconfig("admin", url))
        server = stack.enter_context(_process("kube-apiserver", folder, [
            f"--etcd-servers={etcd_url}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            f"--secure-port={port}", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
            f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt", f"--token-auth-file={pki}/tokens.csv", "--authorization-mode=RBAC",
            f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
            f"--service-account-issuer={url}", f"--service-account-jwks-uri={url}/openid/v1/jwks",
            f"--audit-policy-file={AUDIT_POLICY}", f"--audit-log-path={folder}/audit.log",
            f"--cert-dir={pki}", "--profiling=false", "--shutdown-delay-duration=0s",
        ]))  # fmt: skip
        trust = ssl.create_default_context(cafile=str(authority.certificate))
        _wait_for(f"{url}/readyz", server, folder / "kube-apiserver.log", trust, token)
        yield ApiServer(
            url=url, kubeconfig=folder / "kubeconfig", ca_file=authority.certificate, token=token,
            jwks_url=f"{url}/openid/v1/jwks", issuer=url, audit_log=folder / "audit.log",
        )  # fmt: skip


@contextmanager
def opa(policies: Path) -> Iterator[Opa]:
    """Start OPA with the policies (not their tests) of a folder, and stop it at the end of the block.

    Raises:
        LocalError: the binary is missing; the message has the command that makes it.
        Timeout: it did not become healthy, as with a policy that does not compile; the message ends with its log.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="somabrain-opa-")))
        (port,) = _free_ports(1)
        arguments = [
            "run",
            "--server",
            f"--addr=127.0.0.1:{port}",
            "--log-level=error",
            "--ignore=*_test.rego",
            str(policies),
        ]
        process = stack.enter_context(_process("opa", folder, arguments))
        _wait_for(f"http://127.0.0.1:{port}/health", process, folder / "opa.log")
        yield Opa(f"http://127.0.0.1:{port}", process)


@contextmanager
def _process(name: str, folder: Path, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    binary = places().bin / name
    if not binary.exists():
        raise LocalError(f"{name} is missing: run `PYTHONPATH=scripts python3 -m somabrain_local tools {name}`.")
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", str(binary), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()  # nothing of its data outlives the test
        process.wait()


def _free_ports(count: int) -> list[int]:
    """Return `count` different ports that nothing listens on at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path, trust: ssl.SSLContext | None = None,
              token: str = "") -> None:  # fmt: skip
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))

    def answers() -> bool:
        if process.poll() is not None:
            raise Timeout(f"{log.stem} ended with {process.returncode}.")
        try:
            with opener.open(request, timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    try:
        shell.wait_until(answers, what=f"{log.stem} did not become ready", timeout_s=START_TIMEOUT_S, every_s=0.1)
    except Timeout as error:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-shell.TAIL_LINES :])
        raise Timeout(f"{error} The end of its log:\n{tail}") from error
