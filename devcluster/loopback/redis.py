"""Redis: standalone (with a password, with TLS), with Sentinels, and as a Cluster. Nothing is stored on disk."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from devcluster import shell
from devcluster.loopback.server_process import (
    HOST,
    START_TIMEOUT_S,
    ServerProcess,
    free_ports,
    running,
    temporary_folder,
    tool,
)
from devcluster.pki import CertificateAuthority

SENTINEL_SERVICE = "somabrain"
NO_PERSISTENCE = ("--save", "", "--appendonly", "no")
FAILURE_TIMEOUT_MS = 1000
"""Time after which Sentinels and Cluster nodes consider a silent node failed."""


@dataclass(frozen=True, slots=True)
class Redis:
    """Redis on loopback."""

    port: int
    process: ServerProcess
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    """CA certificate that clients must trust; None: without TLS."""

    @property
    def url(self) -> str:
        """URL, including the password."""
        scheme = "rediss" if self.ca_file else "redis"
        return f"{scheme}://{f':{self.password}@' if self.password else ''}{HOST}:{self.port}/0"

    def command(self, *words: object) -> str:
        """Send one command with redis-cli and return its output.

        Raises:
            CommandFailed: Redis returned an error or did not respond.
        """
        secret = ["--pass", self.password, "--no-auth-warning"] if self.password else []
        trust = ["--tls", "--cacert", self.ca_file] if self.ca_file else []
        argv = [tool("redis-cli"), "-h", HOST, "-p", self.port, "-e", "--raw", *secret, *trust, *words]
        return shell.run(argv, timeout_s=30).removesuffix("\n")


@dataclass(frozen=True, slots=True)
class RedisSentinel:
    """Primary, its replica, and three Sentinels, two of which must agree that the primary has failed."""

    service: str
    """Name of the primary in the Sentinels."""
    sentinels: Sequence[tuple[str, int]]
    """Host and port of each Sentinel."""
    primary: Redis
    """Primary at the start; after a failover the former replica is the primary."""
    replica: Redis
    password: str = field(repr=False)
    """Password of the primary and the replica; the Sentinels require none."""


@contextmanager
def redis(*, password: str = "", tls: bool = False) -> Iterator[Redis]:
    """Start an empty Redis, and stop it at the end of the block. Restarted, it is empty.

    Args:
        password: password of clients; empty: none is required.
        tls: serve TLS, with a certificate for 127.0.0.1 and localhost from its own certificate authority.

    Raises:
        LocalError: the binary is missing; the message has the command that builds it.
        Timeout: it did not respond; the message ends with its log.
    """
    with temporary_folder("redis") as folder:
        server = _server(folder, "redis", [], password=password, ca_file=_issue_certificates(folder) if tls else None)
        with running(server.process):
            yield server


@contextmanager
def redis_sentinel(*, password: str = "sentinel-password", tls: bool = False) -> Iterator[RedisSentinel]:
    """Start a primary, a replica and three Sentinels, and stop them at the end of the block; with `tls` all use TLS.

    Ready when the Sentinels know each other and the replica, so that a failover works.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("redis-sentinel"))
        ca_file = _issue_certificates(folder) if tls else None
        auth = ["--masterauth", password, *(["--tls-replication", "yes"] if tls else [])]
        secured: dict[str, Any] = {"password": password, "ca_file": ca_file}
        primary = _server(folder, "primary", auth, **secured)
        replica = _server(folder, "replica", [*auth, "--replicaof", f"{HOST} {primary.port}"], **secured)
        for each in (primary, replica):
            stack.enter_context(running(each.process))
        sentinels = []
        for number, port in enumerate(free_ports(3), start=1):
            config = folder / f"sentinel-{number}.conf"
            listening = "".join(f"{name} {value}\n" for name, value in _listen_options(port, ca_file).items())
            config.write_text(
                f"{listening}{'tls-replication yes' if tls else ''}\nbind {HOST}\ndir {folder}\n"
                f"sentinel monitor {SENTINEL_SERVICE} {HOST} {primary.port} 2\n"
                f"sentinel auth-pass {SENTINEL_SERVICE} {password}\n"
                f"sentinel down-after-milliseconds {SENTINEL_SERVICE} {FAILURE_TIMEOUT_MS}\n"
                f"sentinel failover-timeout {SENTINEL_SERVICE} 5000\n"
            )
            argv = [tool("redis-server"), config, "--sentinel"]
            process = ServerProcess(argv, folder / f"sentinel-{number}.log", partial(_answers, port, ca_file))
            stack.enter_context(running(process))
            sentinels.append(Redis(port, process, ca_file=ca_file))
        _wait(lambda: all(_sentinel_is_complete(each) for each in sentinels), "The Sentinels did not find each other")
        addresses = [(HOST, each.port) for each in sentinels]
        yield RedisSentinel(SENTINEL_SERVICE, addresses, primary, replica, password)


@contextmanager
def redis_cluster(*, password: str = "", tls: bool = False) -> Iterator[Sequence[Redis]]:
    """Start three primaries that share the slots, and stop them at the end of the block; with `tls` all use TLS."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("redis-cluster"))
        ca_file = _issue_certificates(folder) if tls else None
        buses = free_ports(3)
        nodes = [
            _server(
                folder,
                f"node-{number}",
                [
                    "--cluster-enabled",
                    "yes",
                    "--cluster-config-file",
                    folder / f"node-{number}.conf",
                    "--cluster-port",
                    bus,
                    "--cluster-node-timeout",
                    FAILURE_TIMEOUT_MS,
                    "--masterauth",
                    password,
                    *(["--tls-cluster", "yes"] if tls else []),
                ],
                password=password,
                ca_file=ca_file,
            )
            for number, bus in enumerate(buses, start=1)
        ]
        for node in nodes:
            stack.enter_context(running(node.process))
        nodes[0].command("--cluster", "create", *(f"{HOST}:{node.port}" for node in nodes), "--cluster-yes")
        _wait(lambda: all(_serves_all_slots(node) for node in nodes), "The cluster did not form")
        yield nodes


def _server(folder: Path, name: str, more: Sequence[object], *, password: str, ca_file: Path | None = None) -> Redis:
    (port,) = free_ports(1)
    listening = [word for name, value in _listen_options(port, ca_file).items() for word in (f"--{name}", value)]
    own = ["--bind", HOST, "--dir", folder, *NO_PERSISTENCE, *(["--requirepass", password] if password else [])]
    argv = [tool("redis-server"), *listening, *own, *more]
    process = ServerProcess(argv, folder / f"{name}.log", partial(_answers, port, ca_file))
    return Redis(port, process, password, ca_file)


def _issue_certificates(folder: Path) -> Path:
    """Create an authority and the certificate shared by all servers, and return the CA certificate."""
    authority = CertificateAuthority.create(folder / "pki")
    authority.issue_server("redis", "/CN=redis", ["DNS:localhost", f"IP:{HOST}"], client_auth=True)
    return authority.certificate


def _listen_options(port: int, ca_file: Path | None) -> dict[str, object]:
    """Return the Redis options to listen on `port`, with TLS if `ca_file` is set."""
    if ca_file is None:
        return {"port": port}
    files = {"tls-cert-file": ca_file.parent / "redis.crt", "tls-key-file": ca_file.parent / "redis.key"}
    return {"port": 0, "tls-port": port, "tls-auth-clients": "no", "tls-ca-cert-file": ca_file, **files}


def _answers(port: int, ca_file: Path | None = None) -> bool:
    """Return whether Redis responds to PING; a request for a password counts as a response."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as plain:
            trust = ssl.create_default_context(cafile=str(ca_file)) if ca_file else None
            with trust.wrap_socket(plain, server_hostname=HOST) if trust else plain as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def _sentinel_is_complete(sentinel: Redis) -> bool:
    lines = sentinel.command("SENTINEL", "MASTER", SENTINEL_SERVICE).splitlines()
    master = dict(zip(lines[::2], lines[1::2], strict=True))
    return (master["num-slaves"], master["num-other-sentinels"], master["flags"]) == ("1", "2", "master")


def _serves_all_slots(node: Redis) -> bool:
    info = node.command("CLUSTER", "INFO")
    return "cluster_state:ok" in info and "cluster_known_nodes:3" in info


def _wait(condition: Callable[[], bool], what: str) -> None:
    shell.wait_until(condition, what=what, timeout_s=START_TIMEOUT_S, every_s=0.1)
