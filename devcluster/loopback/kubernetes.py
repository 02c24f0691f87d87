"""Kubernetes API server with its etcd.

Without controller-manager, scheduler and kubelet: objects are stored, validated
and watched, and nothing acts on them.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devcluster.loopback.etcd import etcd_process
from devcluster.loopback.server_process import (
    ServerProcess,
    free_ports,
    http_answers,
    running,
    temporary_folder,
    tool,
)
from devcluster.pki import CertificateAuthority

AUDIT_POLICY = Path(__file__).parents[1] / "manifests" / "audit.yaml"


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Kubernetes API on loopback."""

    url: str
    kubeconfig: Path
    """Kubeconfig of a member of system:masters."""
    ca_file: Path
    token: str = field(repr=False)
    """Bearer token of a member of system:masters."""
    jwks_url: str
    """URL of the service-account issuer's keys; reading them needs a token."""
    issuer: str
    """`iss` of service-account tokens."""
    audit_log: Path
    """Audit log: one JSON event per line, at level Metadata."""
    etcd: ServerProcess
    """Process of its etcd."""
    process: ServerProcess


@contextmanager
def api_server(audit_policy: Path = AUDIT_POLICY) -> Iterator[ApiServer]:
    """Start etcd and kube-apiserver, and stop them at the end of the block.

    Args:
        audit_policy: audit policy file, which selects the events of the audit log.

    Raises:
        LocalError: a binary is missing; the message has the command that builds it.
        Timeout: the API did not become ready; the message ends with its log.
    """
    with temporary_folder("api") as folder:
        (port,) = free_ports(1)
        url, store = f"https://127.0.0.1:{port}", etcd_process(folder)
        authority = CertificateAuthority.create(folder / "pki")
        authority.issue_server("apiserver", "/CN=kube-apiserver", ["DNS:localhost", "IP:127.0.0.1"])
        authority.issue_client("admin", "/O=system:masters/CN=admin")
        authority.make_service_account_key()
        token, pki = secrets.token_urlsafe(24), authority.folder
        (pki / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
        (folder / "kubeconfig").write_text(authority.kubeconfig("admin", url))
        argv = [
            tool("kube-apiserver"),
            f"--etcd-servers={store.url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            f"--token-auth-file={pki}/tokens.csv",
            "--authorization-mode=RBAC",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--service-account-issuer={url}",
            f"--service-account-jwks-uri={url}/openid/v1/jwks",
            f"--audit-policy-file={audit_policy}",
            f"--audit-log-path={folder}/audit.log",
            "--audit-log-maxsize=10000",
            f"--cert-dir={pki}",
            "--profiling=false",
            "--shutdown-delay-duration=0s",
        ]
        trust = ssl.create_default_context(cafile=str(authority.certificate))
        server = ServerProcess(argv, folder / "kube-apiserver.log", http_answers(f"{url}/readyz", trust, token))
        with running(store.process), running(server):
            yield ApiServer(
                url=url,
                kubeconfig=folder / "kubeconfig",
                ca_file=authority.certificate,
                token=token,
                jwks_url=f"{url}/openid/v1/jwks",
                issuer=url,
                audit_log=folder / "audit.log",
                etcd=store.process,
                process=server,
            )
