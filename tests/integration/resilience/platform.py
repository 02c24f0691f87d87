"""The real dependencies of the service, each behind its own proxy, and the service's settings for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from devcluster.loopback import Kafka, Keycloak, collector, etcd, kafka, keycloak, opa, redis
from devcluster.loopback.keycloak import SERVICE
from devcluster.loopback.server_process import ServerProcess, free_ports
from tests.integration.resilience.proxy import Proxy, proxy
from tests.integration.service.postgres import Postgres, postgres

TOPIC = "somabrain.changes"
IDENTITY_LIFE_S = 2.0
POLICY_LIFE_S = 1.0
POLICY_TIMEOUT_S = 1.0
POLICIES = Path(__file__).parents[3] / "common" / "policy"
Action = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Dependency:
    """A dependency of the service."""

    name: str
    proxy: Proxy
    stop: Action
    start: Action
    max_answer_age_s: float | None = None
    """Longest use of its answer: after that no call is admitted without it. None: it does not admit calls."""


@dataclass(frozen=True)
class Platform:
    """All dependencies, and the settings of the service for them."""

    dependencies: tuple[Dependency, ...]
    settings: Mapping[str, object]
    identity: Keycloak
    events: Kafka


def _process_dependency(name: str, process: ServerProcess, front: Proxy, life_s: float | None = None) -> Dependency:
    async def stop() -> None:
        await asyncio.to_thread(process.stop)

    async def start() -> None:
        await asyncio.to_thread(process.start)

    return Dependency(name, front, stop, start, life_s)


def _database(server: Postgres, front: Proxy) -> Dependency:
    async def stop() -> None:
        await asyncio.to_thread(server.kill)

    async def start() -> None:
        await asyncio.to_thread(server.start)

    return Dependency("PostgreSQL", front, stop, start)


@asynccontextmanager
async def platform(folder: Path) -> AsyncIterator[Platform]:
    """Start all dependencies, and stop them at the end of the block."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgres(folder / "postgresql"))
        dsn = urlsplit(server.start())
        socket = Path(parse_qs(dsn.query)["host"][0]) / ".s.PGSQL.5432"
        database = await stack.enter_async_context(proxy(socket))
        cache_server = stack.enter_context(redis(password="p"))
        cache = await stack.enter_async_context(proxy(cache_server.port))
        flag_server = stack.enter_context(etcd())
        flags = await stack.enter_async_context(proxy(_port(flag_server.url)))
        # Kafka tells its clients where it is: it must tell the proxy's port.
        (front,) = free_ports(1)
        event_server = stack.enter_context(kafka(advertised_port=front))
        events = await stack.enter_async_context(proxy(_port(f"//{event_server.bootstrap}"), front))
        await asyncio.to_thread(event_server.create_topic, TOPIC)
        # Keycloak's tokens name the address that they were asked at: both are the proxy's.
        central = stack.enter_context(keycloak())
        identity = await stack.enter_async_context(proxy(_port(central.url)))
        central = replace(central, url=f"http://{identity.address}")
        engine = stack.enter_context(opa(POLICIES))
        policy = await stack.enter_async_context(proxy(_port(engine.url)))
        telemetry = stack.enter_context(collector())
        traces = await stack.enter_async_context(proxy(_port(telemetry.http_endpoint)))
        dsn_of = partial("postgresql://{}@{}{}?sslmode=disable".format)
        yield Platform(
            dependencies=(
                _database(server, database),
                _process_dependency("Redis", cache_server.process, cache),
                _process_dependency("etcd", flag_server.process, flags),
                _process_dependency("Kafka", event_server.process, events),
                _process_dependency("Keycloak", central.process, identity, IDENTITY_LIFE_S),
                _process_dependency("OPA", engine.process, policy, POLICY_LIFE_S + POLICY_TIMEOUT_S),
                _process_dependency("OpenTelemetry collector", telemetry.process, traces),
            ),
            settings={
                "postgres_dsn": dsn_of(dsn.username, database.address, dsn.path),
                "worker_dsn": dsn_of("somabrain_worker", database.address, dsn.path),
                "grpc__host": "127.0.0.1",
                "grpc__port": 0,
                "http__host": "127.0.0.1",
                "http__port": 0,
                "encoder__kind": "lexical",
                "cache__url": f"redis://:p@{cache.address}",
                "flags__endpoints": f'["http://{flags.address}"]',
                "events__brokers": f'["{events.address}"]',
                "events__topic": TOPIC,
                "auth__mode": "introspection",
                "auth__issuer": central.issuer(),
                "auth__introspection__address": f"http://{identity.address}",
                "auth__introspection__client_id": SERVICE[0],
                "auth__introspection__client_secret": SERVICE[1],
                "auth__tenant_claim": "/tenant",
                "auth__scope_claim": "/scope",
                "auth__cache_s": IDENTITY_LIFE_S,
                "policy__url": f"http://{policy.address}/v1/data/sb/policy",
                "policy__cache_s": POLICY_LIFE_S,
                "policy__timeout_s": POLICY_TIMEOUT_S,
                "trace__endpoint": f"http://{traces.address}",
                "trace__sample_ratio": 1,
            },
            identity=central,
            events=event_server,
        )


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
