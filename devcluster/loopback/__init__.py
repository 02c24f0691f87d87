"""Real servers as plain processes on 127.0.0.1, for integration tests.

    with api_server() as api, opa(Path("common/policy")) as policy, redis(password="p") as cache: ...

They need neither root nor a cluster. Each dies with the thread that started it,
even if that is killed, and leaves only a folder in the temporary directory. Most
have a `process`, which a test may stop, freeze and restart at the same address.
"""

from __future__ import annotations

from devcluster.loopback.collector import Collector, Span, collector
from devcluster.loopback.dns import Dns, dns
from devcluster.loopback.etcd import Etcd, etcd, etcd_cluster
from devcluster.loopback.kafka import Kafka, kafka
from devcluster.loopback.keycloak import Keycloak, keycloak
from devcluster.loopback.kubernetes import ApiServer, api_server
from devcluster.loopback.opa import Opa, opa
from devcluster.loopback.redis import Redis, RedisSentinel, redis, redis_cluster, redis_sentinel
from devcluster.loopback.server_process import ServerProcess
from devcluster.loopback.vault import Vault, vault

__all__ = [
    "ApiServer",
    "Collector",
    "Dns",
    "Etcd",
    "Kafka",
    "Keycloak",
    "Opa",
    "Redis",
    "RedisSentinel",
    "ServerProcess",
    "Span",
    "Vault",
    "api_server",
    "collector",
    "dns",
    "etcd",
    "etcd_cluster",
    "kafka",
    "keycloak",
    "opa",
    "redis",
    "redis_cluster",
    "redis_sentinel",
    "vault",
]
