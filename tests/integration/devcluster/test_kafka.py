"""The tests' Kafka starts, preserves its topics over a restart at the same address, and stops."""

from __future__ import annotations

import pytest

from devcluster.errors import CommandFailed
from devcluster.loopback import kafka


@pytest.mark.timeout(300)  # four Java programs start, on a machine that may be busy
def test_kafka_restart_preserves_topics() -> None:
    """A created topic still exists after a restart."""
    with kafka() as server:
        assert server.topics() == []
        server.create_topic("changes", partitions=3)
        server.process.restart()
        assert server.topics() == ["changes"]
    with pytest.raises(CommandFailed):
        server.topics()
