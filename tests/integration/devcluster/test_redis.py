"""The tests' Redis, Sentinel and Cluster start, answer, stop, and restart at the same address."""

from __future__ import annotations

import pytest

from devcluster import shell
from devcluster.errors import CommandFailed
from devcluster.loopback import redis, redis_cluster, redis_sentinel
from devcluster.loopback.server_process import tool


def test_redis_restart_is_empty_at_same_address() -> None:
    """A stopped Redis refuses connections; started again at the same address, it is empty."""
    with redis() as server:
        assert server.command("SET", "tea", "green") == "OK"
        server.process.stop()
        with pytest.raises(CommandFailed, match="refused"):
            server.command("PING")
        server.process.start()
        assert server.command("EXISTS", "tea") == "0"
    with pytest.raises(CommandFailed, match="refused"):
        server.command("PING")


def test_frozen_redis_keeps_connections_and_answers_after_thaw() -> None:
    """A frozen Redis does not answer, and answers again once it is thawed."""
    with redis() as server:
        server.process.freeze()
        with pytest.raises(CommandFailed, match=r"within 0\.5 s"):
            shell.run([tool("redis-cli"), "-p", server.port, "PING"], timeout_s=0.5)
        server.process.thaw()
        assert server.command("PING") == "PONG"


def test_redis_requires_password_and_trusted_ca() -> None:
    """Without the password no command is executed, and without trust in the CA there is no connection."""
    with redis(password="open sesame", tls=True) as server:
        assert server.command("PING") == "PONG"
        trusting = [tool("redis-cli"), "-p", server.port, "-e", "--tls", "--cacert", server.ca_file, "PING"]
        with pytest.raises(CommandFailed, match="NOAUTH"):
            shell.run(trusting)
        with pytest.raises(CommandFailed, match="certificate verify failed"):
            shell.run([tool("redis-cli"), "-p", server.port, "--tls", "PING"])


def test_sentinels_promote_replica_when_primary_fails() -> None:
    """When the primary is lost, the sentinels name its replica, which has the data."""
    with redis_sentinel() as group:
        group.primary.command("SET", "tea", "green")
        assert group.primary.command("WAIT", 1, 5000) == "1"
        group.primary.process.stop()
        (_, port), *_ = group.sentinels

        def named() -> bool:
            words = [tool("redis-cli"), "-p", port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", group.service]
            return str(group.replica.port) in shell.run(words)

        shell.wait_until(named, what="No new primary was named", timeout_s=30)
        assert group.replica.command("GET", "tea") == "green"
        assert group.replica.command("SET", "tea", "black") == "OK"


def test_redis_cluster_distributes_hash_slots() -> None:
    """Each key is served by one node of the cluster, and the others redirect to it."""
    with redis_cluster(password="cluster") as nodes:
        refusals = 0
        for node in nodes:
            try:
                node.command("SET", "tea", "green")
            except CommandFailed as error:
                assert "MOVED" in str(error)  # noqa: PT017
                refusals += 1
        assert refusals == len(nodes) - 1
