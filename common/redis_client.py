"""Clients of Redis: alone, watched over by Sentinels, or as a Cluster; with TLS and passwords where they are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from common.config.settings import CacheSettings
from common.errors import ConfigurationError
from common.tls import client_context

SOCKET_TIMEOUT_S = 1.0
"""For a connection, and for an answer on it; callers that wait less say so themselves."""
POOL_SIZE = 16
SENTINEL_MAX_CONNECTIONS = 256
"""Where a pool does not wait for one to be given back, and more would be an error."""

Topology = Literal["alone", "sentinel", "cluster"]
_TOPOLOGIES: dict[str, Topology] = {"": "alone", "sentinel": "sentinel", "cluster": "cluster"}
RedisClient = Redis | RedisCluster
DEFAULT_PORTS: dict[Topology, int] = {"alone": 6379, "sentinel": 26379, "cluster": 6379}
URL_FORMS = (
    "must be redis://[user:password@]host[:port][/db], redis+sentinel://[user:password@]host[:port][,...]/NAME[/db], "
    "redis+cluster://[user:password@]host[:port][,...], or the same with rediss for TLS"
)


@asynccontextmanager
async def open_redis(settings: CacheSettings) -> AsyncIterator[RedisClient]:
    """A client of the Redis that the settings name, closed on leaving; it connects on first use.

    Raises:
        ConfigurationError: the address or a file for TLS is none.
    """
    address = parse_address(settings)
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        # A connection that was closed while idle is opened anew at once; whatever else fails is the caller's to bear.
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    }
    tls: dict[str, Any] = {}
    if address.tls:
        # redis-py makes a context of its own from the files; this finds out whether they can be read.
        client_context("cache", settings.ca_file, settings.cert_file, settings.key_file)
        files = {"ssl_ca_certs": settings.ca_file, "ssl_certfile": settings.cert_file, "ssl_keyfile": settings.key_file}
        tls = {name: str(path) for name, path in files.items() if path is not None}
    async with AsyncExitStack() as stack:
        if address.topology == "cluster":
            nodes = [ClusterNode(host, port) for host, port in address.hosts]
            client: RedisClient = RedisCluster(startup_nodes=nodes, ssl=address.tls, **options, **tls)
        elif address.topology == "sentinel":
            sentinel = Sentinel(  # type: ignore[no-untyped-call]
                address.hosts, sentinel_kwargs={**_sentinel_options(settings), "ssl": address.tls, **tls}
            )
            for sentinel_client in sentinel.sentinels:
                stack.push_async_callback(sentinel_client.aclose)
            options |= {"db": address.db, "ssl": address.tls, "max_connections": SENTINEL_MAX_CONNECTIONS, **tls}
            client = Redis.from_pool(
                SentinelConnectionPool(address.service, sentinel, **options)  # type: ignore[no-untyped-call]
            )
        else:
            options |= {"db": address.db, "max_connections": POOL_SIZE, "timeout": SOCKET_TIMEOUT_S}
            if address.tls:
                options |= {"connection_class": SSLConnection, **tls}
            host, port = address.hosts[0]
            client = Redis.from_pool(BlockingConnectionPool(host=host, port=port, **options))
        stack.push_async_callback(client.aclose)
        yield client


def _sentinel_options(settings: CacheSettings) -> dict[str, Any]:
    password = settings.sentinel_password
    return {
        "username": settings.sentinel_username,
        "password": password.get_secret_value() if password else None,
        "socket_timeout": SOCKET_TIMEOUT_S,
    }


class RedisAddress(NamedTuple):
    """Where Redis is."""

    topology: Topology
    tls: bool
    hosts: list[tuple[str, int]]
    username: str | None
    password: str | None
    service: str
    db: int


def parse_address(settings: CacheSettings) -> RedisAddress:
    """Read `cache.url`.

    Raises:
        ConfigurationError: it is none; the message never holds it, for it has a password in it.
    """
    url = settings.url.get_secret_value() if settings.url else ""
    try:
        return _parse_url(urlsplit(url))
    except (ValueError, IndexError):
        raise ConfigurationError(f"cache.url: {URL_FORMS}.") from None


def _parse_url(parts: SplitResult) -> RedisAddress:
    scheme, _, suffix = parts.scheme.partition("+")
    if scheme not in {"redis", "rediss"} or suffix not in _TOPOLOGIES or parts.query or parts.fragment:
        raise ValueError(parts.scheme)
    topology = _TOPOLOGIES[suffix]
    credentials, at, hosts = parts.netloc.rpartition("@")
    username, colon, password = credentials.partition(":")
    addresses = [_parse_host(host, DEFAULT_PORTS[topology]) for host in hosts.split(",")]
    path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
    service = path.pop(0) if topology == "sentinel" else ""
    db = int(path.pop(0)) if path and topology != "cluster" else 0
    if path or db < 0 or (topology == "alone" and len(addresses) != 1):
        raise ValueError(parts.path)
    return RedisAddress(
        topology,
        scheme == "rediss",
        addresses,
        unquote(username) or None if at else None,
        unquote(password) if colon else None,
        service,
        db,
    )


def _parse_host(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(text)
    return parts.hostname, parts.port or default_port
