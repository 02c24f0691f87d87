"""etcd, the store of the API server and of flags: one member, optionally with TLS, or a cluster of three."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from devcluster import shell
from devcluster.loopback.server_process import (
    START_TIMEOUT_S,
    ServerProcess,
    free_ports,
    http_answers,
    running,
    temporary_folder,
    tool,
)
from devcluster.pki import CertificateAuthority

ROOT = "root"
ROOT_PASSWORD = "root-password"


@dataclass(frozen=True, slots=True)
class Etcd:
    """etcd on loopback, with gRPC and its JSON gateway on one port."""

    url: str
    process: ServerProcess
    ca_file: Path | None = None
    """CA certificate that clients must trust; None: without TLS."""

    def put(self, key: str, value: str) -> int:
        """Write one key, and return the new revision."""
        return int(self._post("kv/put", {"key": _encoded(key), "value": _encoded(value)})["header"]["revision"])

    def get(self, key: str) -> str | None:
        """Return the value of one key, or None if it does not exist."""
        pairs = self._post("kv/range", {"key": _encoded(key)}).get("kvs", [])
        return base64.b64decode(pairs[0].get("value", "")).decode() if pairs else None

    def delete(self, key: str) -> int:
        """Delete one key, and return the new revision."""
        return int(self._post("kv/deleterange", {"key": _encoded(key)})["header"]["revision"])

    def compact(self, revision: int) -> None:
        """Compact the history before `revision`: a watch from an earlier revision is cancelled."""
        self._post("kv/compaction", {"revision": revision, "physical": True})

    def require_password(self, name: str, password: str, prefix: str) -> None:
        """Enable authentication, and grant `name` access to keys that begin with `prefix` only."""
        first = {"key": _encoded(prefix), "range_end": _encoded(prefix[:-1] + chr(ord(prefix[-1]) + 1))}
        for user, secret in ((ROOT, ROOT_PASSWORD), (name, password)):
            self._post("auth/user/add", {"name": user, "password": secret})
            self._post("auth/role/add", {"name": user})
            self._post("auth/user/grant", {"user": user, "role": user})
        self._post("auth/role/grant", {"name": name, "perm": {"permType": "READWRITE", **first}})
        self._post("auth/enable", {})

    def _post(self, path: str, body: object) -> Any:
        request = urllib.request.Request(f"{self.url}/v3/{path}", json.dumps(body).encode())
        context = ssl.create_default_context(cafile=str(self.ca_file)) if self.ca_file else None
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        with urllib.request.build_opener(*handlers).open(request, timeout=10) as response:
            return json.load(response)


@contextmanager
def etcd(*, tls: bool = False, mutual: bool = False) -> Iterator[Etcd]:
    """Start an empty etcd, and stop it at the end of the block. Restarted, it has its data.

    Args:
        tls: serve TLS, with a certificate for 127.0.0.1 and localhost from its own certificate authority.
        mutual: require client certificates from that authority: `client.crt` and `client.key` are beside `ca_file`.

    Raises:
        LocalError: the binary is missing; the message has the command that builds it.
        Timeout: it did not become healthy; the message ends with its log.
    """
    with temporary_folder("etcd") as folder:
        authority = None
        if tls:
            authority = CertificateAuthority.create(folder / "pki")
            authority.issue_server("etcd", "/CN=etcd", ["DNS:localhost", "IP:127.0.0.1"], client_auth=mutual)
            authority.issue_client("client", "/CN=client")
        started = etcd_process(folder, authority, mutual=mutual)
        with running(started.process):
            yield started


@contextmanager
def etcd_cluster() -> Iterator[Sequence[Etcd]]:
    """Start an etcd cluster of three members, and stop it at the end of the block."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("etcd-cluster"))
        peers = {f"member-{port}": f"http://127.0.0.1:{port}" for port in free_ports(3)}
        members = [_member(folder, name, peers) for name in peers]
        # A member is ready only once two of them run.
        ready = [member.process.answers for member in members]
        for member, peer in zip(members, peers.values(), strict=True):
            member.process.answers = partial(_listens, peer)
            stack.enter_context(running(member.process))
        shell.wait_until(
            lambda: all(answers() for answers in ready),
            what="The members did not find each other",
            timeout_s=START_TIMEOUT_S,
            every_s=0.1,
        )
        for member, answers in zip(members, ready, strict=True):
            member.process.answers = answers
        yield members


def etcd_process(folder: Path, authority: CertificateAuthority | None = None, *, mutual: bool = False) -> Etcd:
    """Return an etcd that stores its data in `folder`, not started yet."""
    (peer,) = free_ports(1)
    return _member(folder, "default", {"default": f"http://127.0.0.1:{peer}"}, authority, mutual=mutual)


def _member(
    folder: Path,
    name: str,
    peers: Mapping[str, str],
    authority: CertificateAuthority | None = None,
    *,
    mutual: bool = False,
) -> Etcd:
    (client,) = free_ports(1)
    url = f"{'https' if authority else 'http'}://127.0.0.1:{client}"
    argv: list[object] = [
        tool("etcd"),
        "--name",
        name,
        "--data-dir",
        f"{folder}/{name}",
        "--unsafe-no-fsync",
        "--log-level",
        "warn",
        "--listen-client-urls",
        url,
        "--advertise-client-urls",
        url,
        "--listen-peer-urls",
        peers[name],
        "--initial-advertise-peer-urls",
        peers[name],
        "--initial-cluster",
        ",".join(f"{member}={peer}" for member, peer in peers.items()),
    ]
    ca_file = trust = None
    if authority:
        pki, ca_file = authority.folder, authority.certificate
        argv += ["--cert-file", pki / "etcd.crt", "--key-file", pki / "etcd.key"]
        trust = ssl.create_default_context(cafile=str(ca_file))
        if mutual:
            argv += ["--client-cert-auth", "--trusted-ca-file", ca_file]
            trust.load_cert_chain(pki / "client.crt", pki / "client.key")
    return Etcd(url, ServerProcess(argv, folder / f"{name}.log", http_answers(f"{url}/readyz", trust)), ca_file)


def _listens(url: str) -> bool:
    """Return whether the host and port of `url` accept connections."""
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except OSError:
        return False


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
