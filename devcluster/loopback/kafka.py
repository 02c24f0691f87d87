"""Kafka: one node that is both broker and controller (KRaft)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from devcluster import shell
from devcluster.loopback.server_process import (
    HOST,
    ServerProcess,
    free_ports,
    running,
    temporary_folder,
    tool,
    tools_in_path,
)
from devcluster.pki import CertificateAuthority

CLUSTER_ID = "c29tYWJyYWluLWxvb3BiYQ"
API_VERSIONS = struct.pack(">hhih", 18, 0, 1, -1)
"""First request of every client: ApiVersions, version 0, correlation id 1, no client id."""
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},SASL_SSL://{host}:{secured},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{advertised},SASL_SSL://{host}:{secured}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={folder}/pki/kafka.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/pki/ca.crt
log.dirs={folder}/data
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


USER, PASSWORD = "somabrain", "kafka-password"


@dataclass(frozen=True, slots=True)
class Kafka:
    """Kafka on loopback. Topics must be created explicitly; using one does not create it."""

    bootstrap: str
    """Host and port without TLS and password."""
    secured: str
    """Host and port with TLS and SCRAM-SHA-512, for `USER` and `PASSWORD`."""
    ca_file: Path
    """CA certificate for clients of `secured`."""
    process: ServerProcess

    def create_topic(self, name: str, *, partitions: int = 1) -> None:
        """Create a topic with one replica."""
        self._topics("--create", "--topic", name, "--partitions", str(partitions))

    def topics(self) -> list[str]:
        """Return the names of all topics."""
        return self._topics("--list").split()

    def _topics(self, *words: str) -> str:
        argv = [tool("kafka-topics.sh"), "--bootstrap-server", self.bootstrap, *words]
        return shell.run(argv, env=tools_in_path(), timeout_s=120)


@contextmanager
def kafka(*, advertised_port: int | None = None) -> Iterator[Kafka]:
    """Start an empty Kafka, and stop it at the end of the block. Restarted, it has its topics.

    Args:
        advertised_port: port that it advertises to clients, for example that of a proxy. None: its own port.

    Raises:
        LocalError: the binary is missing; the message has the command that builds it.
        Timeout: it did not respond; the message ends with its log.
    """
    with temporary_folder("kafka") as folder:
        port, secured, controller = free_ports(3)
        properties = folder / "server.properties"
        ports = {"port": port, "advertised": advertised_port or port, "secured": secured, "controller": controller}
        properties.write_text(PROPERTIES.format(host=HOST, folder=folder, **ports))
        authority = _certify(folder / "pki")
        secret = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        formatting = [tool("kafka-storage.sh"), "format", "--cluster-id", CLUSTER_ID, "--config", properties]
        shell.run([*formatting, "--add-scram", secret], env=tools_in_path(), timeout_s=120)
        argv = [tool("kafka-server-start.sh"), properties]
        with running(
            ServerProcess(argv, folder / "kafka.log", partial(_answers, port), start_timeout_s=180)
        ) as process:
            yield Kafka(f"{HOST}:{port}", f"{HOST}:{secured}", authority.certificate, process)


def _certify(folder: Path) -> CertificateAuthority:
    """Create an authority and issue Kafka's certificate, with key and certificate in one file."""
    authority = CertificateAuthority.create(folder)
    authority.issue_server("kafka", "/CN=kafka", ["DNS:localhost", f"IP:{HOST}"])
    pem = folder / "kafka.pem"
    pem.write_text((folder / "kafka.key").read_text() + (folder / "kafka.crt").read_text())
    return authority


def _answers(port: int) -> bool:
    """Return whether the broker responds to ApiVersions, which it does once it serves."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(API_VERSIONS)) + API_VERSIONS)
            answer = connection.recv(10)
    except OSError:
        return False
    return len(answer) == 10 and struct.unpack(">ih", answer[4:]) == (1, 0)
