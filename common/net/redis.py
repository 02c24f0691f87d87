"""Clients of Redis: a single server, behind Sentinels, or a Cluster; with TLS and passwords where required."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import structlog
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from common.config.settings import CacheSettings
from common.errors import ConfigurationError
from common.net.tls import ClientTls

SOCKET_TIMEOUT_S = 1.0
"""Timeout for connecting and for each response; callers set a shorter one themselves."""
POOL_SIZE = 16
RETIREMENT_S = 5.0
"""Seconds after which a replaced client is closed: the longest that a call waits for Redis."""
SENTINEL_MAX_CONNECTIONS = 256
"""Upper limit of connections: this pool raises an error at its limit instead of waiting for a free one."""

Topology = Literal["alone", "sentinel", "cluster"]
_TOPOLOGIES: dict[str, Topology] = {"": "alone", "sentinel": "sentinel", "cluster": "cluster"}
RedisClient = Redis | RedisCluster
DEFAULT_PORTS: dict[Topology, int] = {"alone": 6379, "sentinel": 26379, "cluster": 6379}
URL_FORMS = (
    "must be redis://[user:password@]host[:port][/db], redis+sentinel://[user:password@]host[:port][,...]/NAME[/db], "
    "redis+cluster://[user:password@]host[:port][,...], or the same with rediss for TLS"
)


_log = structlog.stdlib.get_logger(__name__)


class RedisConnector:
    """A client of the configured Redis, replaced when its files or its settings change.

    redis-py keeps the TLS context and the password of a connection, also when it connects again; so a renewed authority
    or a rotated password needs another client. An async context manager: it owns the clients.
    """

    # RedisClusterException is not a RedisError.
    errors = (RedisError, RedisClusterException, OSError, TimeoutError)
    """Errors of calls to a client."""

    def __init__(self, settings: CacheSettings, current: Callable[[], CacheSettings] | None = None) -> None:
        """Read the files; the client connects on first use.

        Args:
            settings: the settings.
            current: returns the settings as they are now, for a URL, user or password that was rotated; None: it never
                is.

        Raises:
            ConfigurationError: the URL or a file for TLS is invalid.
        """
        self._settings = settings
        self._rejected: CacheSettings | None = None
        self._current = current or (lambda: settings)
        self._tls = ClientTls("cache.", settings.ca_file, settings.cert_file, settings.key_file)
        self._context = self._tls_context(settings)
        self._retired: list[tuple[float, AsyncExitStack]] = []
        self._sentinels: list[Redis] = []
        self._open(settings)

    async def __aenter__(self) -> RedisConnector:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stack in (self._stack, *(stack for _, stack in self._retired)):
            await stack.aclose()

    async def reopen_if_changed(self) -> None:
        """Replace the client if a file for TLS, the URL or a password changed. Calls in flight end as they began."""
        now = time.monotonic()
        while self._retired and self._retired[0][0] + RETIREMENT_S < now:
            await self._retired.pop(0)[1].aclose()
        settings = self._last_valid_settings()
        context = self._tls_context(settings)
        if settings == self._settings and context is self._context:
            return
        self._retired.append((now, self._stack))
        self._open(settings)
        self._settings, self._context = settings, context

    @staticmethod
    def is_rejection(exc: BaseException) -> bool:
        """Return whether Redis answered with an error: it is full, for example, or a read-only standby."""
        return isinstance(exc, ResponseError) and not isinstance(exc, RedisConnectionError)

    def prefer_next_sentinel(self) -> None:
        """Ask another Sentinel first from now on: redis-py asks them in order, and waits for one that is silent."""
        if self._sentinels:
            self._sentinels.append(self._sentinels.pop(0))

    def _open(self, settings: CacheSettings) -> None:
        self.client, self._sentinels, self._stack = _open_client(settings)

    def _last_valid_settings(self) -> CacheSettings:
        """Return the settings with the URL and the passwords as they are now; those in use if these are invalid."""
        settings = _with_credentials_of(self._current(), self._settings)
        try:
            parse_address(settings)
        except ConfigurationError as exc:
            if settings != self._rejected:
                _log.warning("changed settings of redis rejected, the former ones stay in use", reason=exc.message)
            self._rejected = settings
            return self._settings
        self._rejected = None
        return settings

    def _tls_context(self, settings: CacheSettings) -> ssl.SSLContext | None:
        """Return what is another object once a file for TLS changed; None: the URL is not one of TLS."""
        return self._tls.context() if parse_address(settings).tls else None


def _with_credentials_of(current: CacheSettings, settings: CacheSettings) -> CacheSettings:
    """Return `settings` with what `current` has to reach Redis and to authenticate; nothing else is followed."""
    names = ("url", "sentinel_username", "sentinel_password")
    return settings.model_copy(update={name: getattr(current, name) for name in names})


def _open_client(settings: CacheSettings) -> tuple[RedisClient, list[Redis], AsyncExitStack]:
    """Return a client, which connects on first use, its list of Sentinels if it has any, and what closes them."""
    address = parse_address(settings)
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        # A connection that was closed while idle is reopened at once; all other failures are left to the caller.
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    }
    tls: dict[str, Any] = {}
    if address.tls:
        files = {"ssl_ca_certs": settings.ca_file, "ssl_certfile": settings.cert_file, "ssl_keyfile": settings.key_file}
        tls = {name: str(path) for name, path in files.items() if path is not None}
    stack, sentinels = AsyncExitStack(), []
    if address.topology == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        client: RedisClient = RedisCluster(startup_nodes=nodes, ssl=address.tls, **options, **tls)
    elif address.topology == "sentinel":
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            address.hosts, sentinel_kwargs={**_sentinel_options(settings), "ssl": address.tls, **tls}
        )
        sentinels = sentinel.sentinels
        for sentinel_client in sentinels:
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
    return client, sentinels, stack


def _sentinel_options(settings: CacheSettings) -> dict[str, Any]:
    password = settings.sentinel_password
    return {
        "username": settings.sentinel_username,
        "password": password.get_secret_value() if password else None,
        "socket_timeout": SOCKET_TIMEOUT_S,
    }


class RedisAddress(NamedTuple):
    """Parsed `cache.url`. `service`: name of the primary at the Sentinels, empty otherwise."""

    topology: Topology
    tls: bool
    hosts: list[tuple[str, int]]
    username: str | None
    password: str | None
    service: str
    db: int


def parse_address(settings: CacheSettings) -> RedisAddress:
    """Parse `cache.url`.

    Raises:
        ConfigurationError: it is invalid; the message never contains it, because it may contain a password.
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
