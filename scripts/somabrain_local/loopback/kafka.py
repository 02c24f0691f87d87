"""Kafka, one node that is broker and controller (KRaft)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from somabrain_local import shell
from somabrain_local.loopback.program import HOST, Program, free_ports, own_folder, running, tool, tools_in_path

CLUSTER_ID = "c29tYWJyYWluLWxvb3BiYQ"
API_VERSIONS = struct.pack(">hhih", 18, 0, 1, -1)
"""The request that every client sends first: ApiVersions, version 0, correlation 1, no client id."""
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
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


@dataclass(frozen=True, slots=True)
class Kafka:
    """A Kafka that answers on loopback, without TLS or passwords. Topics are made by who needs them, never by use."""

    bootstrap: str
    """Host and port, as clients call it."""
    program: Program

    def create_topic(self, name: str, *, partitions: int = 1) -> None:
        """Make a topic of one replica."""
        self._topics("--create", "--topic", name, "--partitions", str(partitions))

    def topics(self) -> list[str]:
        """Return the names of all topics."""
        return self._topics("--list").split()

    def _topics(self, *words: str) -> str:
        argv = [tool("kafka-topics.sh"), "--bootstrap-server", self.bootstrap, *words]
        return shell.run(argv, env=tools_in_path(), timeout_s=120)


@contextmanager
def kafka(*, advertised_port: int | None = None) -> Iterator[Kafka]:
    """Start an empty Kafka, and stop it at the end of the block. Started again, it has its topics.

    Args:
        advertised_port: where it tells clients that it is, as behind a proxy of loopback. None: where it is.

    Raises:
        LocalError: the binary is missing; the message has the command that makes it.
        Timeout: it did not answer; the message ends with its log.
    """
    with own_folder("kafka") as folder:
        port, controller = free_ports(2)
        properties = folder / "server.properties"
        properties.write_text(
            PROPERTIES.format(
                host=HOST, port=port, advertised=advertised_port or port, controller=controller, folder=folder
            )
        )
        formatting = [tool("kafka-storage.sh"), "format", "--cluster-id", CLUSTER_ID, "--config", properties]
        shell.run(formatting, env=tools_in_path(), timeout_s=120)
        argv = [tool("kafka-server-start.sh"), properties]
        with running(Program(argv, folder / "kafka.log", partial(_answers, port), start_timeout_s=180)) as program:
            yield Kafka(f"{HOST}:{port}", program)


def _answers(port: int) -> bool:
    """Return whether the broker tells its versions, which it does once it serves."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(API_VERSIONS)) + API_VERSIONS)
            answer = connection.recv(10)
    except OSError:
        return False
    return len(answer) == 10 and struct.unpack(">ih", answer[4:]) == (1, 0)
