"""Real servers as plain processes on 127.0.0.1, for integration tests.

    with api_server() as api, opa(Path("common/policy")) as policy, redis(password="p") as cache: ...

They need neither root nor a cluster. Each dies with the thread that started it,
even if that is killed, and leaves only a folder in the temporary directory. Most
have a `process`, which a test may stop, freeze and restart at the same address.
"""

from __future__ import annotations

from somabrain_local.loopback.collector import Collector, Span, collector
from somabrain_local.loopback.dns import Dns, dns
from somabrain_local.loopback.etcd import Etcd, etcd, etcd_cluster
from somabrain_local.loopback.kafka import Kafka, kafka
from somabrain_local.loopback.keycloak import Keycloak, keycloak
from somabrain_local.loopback.kubernetes import ApiServer, api_server
from somabrain_local.loopback.opa import Opa, opa
from somabrain_local.loopback.redis import Redis, RedisSentinel, redis, redis_cluster, redis_sentinel
from somabrain_local.loopback.server_process import ServerProcess
from somabrain_local.loopback.vault import Vault, vault

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
