"""CoreDNS, as in the cluster, with names whose addresses a test sets, as those of a headless Service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devcluster.loopback.server_process import (
    HOST,
    ServerProcess,
    free_ports,
    http_answers,
    running,
    temporary_folder,
    tool,
)


@dataclass(frozen=True, slots=True)
class Dns:
    """Name server on loopback."""

    address: str
    """`host:port`, as in a gRPC target: `dns://<address>/<name>:<port>`."""
    process: ServerProcess
    hosts: Path

    def answer(self, name: str, addresses: Sequence[str]) -> None:
        """Set the addresses of `name`, replacing earlier ones; takes effect within a tenth of a second."""
        written = self.hosts.with_suffix(".new")
        written.write_text("".join(f"{address} {name}\n" for address in addresses))
        written.replace(self.hosts)


@contextmanager
def dns() -> Iterator[Dns]:
    """Start CoreDNS without any names, and stop it at the end of the block.

    Raises:
        LocalError: the binary is missing; the message has the command that builds it.
        Timeout: it did not become healthy; the message ends with its log.
    """
    with temporary_folder("dns") as folder:
        port, health = free_ports(2)
        hosts = folder / "hosts"
        hosts.touch()
        (folder / "Corefile").write_text(
            f".:{port} {{\n"
            f"  bind {HOST}\n"
            f"  hosts {hosts} {{\n    ttl 1\n    reload 100ms\n    no_reverse\n  }}\n"
            f"  health {HOST}:{health}\n"
            "}\n"
        )
        argv = [tool("coredns"), "-conf", folder / "Corefile"]
        process = ServerProcess(argv, folder / "coredns.log", http_answers(f"http://{HOST}:{health}/health"))
        with running(process):
            yield Dns(f"{HOST}:{port}", process, hosts)
