"""The running process: every part opened in order, served, drained, and closed in reverse."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from importlib.metadata import version

import structlog

from common.config.settings import Settings
from common.errors import ConfigurationError
from common.utils.auth_client import open_authenticator
from common.utils.cache import open_cache
from common.utils.trace import tracing
from somabrain_service.cached import cached
from somabrain_service.certificates import Certificates
from somabrain_service.commands.context import AppContext
from somabrain_service.encoders.open import open_encoders
from somabrain_service.flags.open import open_flags
from somabrain_service.http.probes import http_server, make_app
from somabrain_service.interceptors.chain import Chain, steps
from somabrain_service.kafka.health import KafkaHealth
from somabrain_service.metered import metered
from somabrain_service.metrics import Metrics
from somabrain_service.policy import policy_client
from somabrain_service.quotas import Quotas
from somabrain_service.readiness import Readiness
from somabrain_service.server import Health, bind, make_server
from somabrain_service.store.open import open_store
from somabrain_service.store.postgres.storage_quota import StorageQuota
from somabrain_service.workers.open import open_duties

_log = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Reading down is startup, unwinding is shutdown.

    Raises:
        ConfigurationError: a part cannot be made as the settings say.
    """
    if settings.postgres_dsn is None:
        raise ConfigurationError("postgres_dsn: is required; set SOMABRAIN_POSTGRES_DSN to a URL of the app role.")
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    if settings.auth.mode == "none":
        _log.warning("everybody is let in", reason="auth.mode is none", tenant=settings.auth.anonymous_tenant)
    metrics, health = Metrics(), Health()
    tls = settings.grpc.tls
    certificates = Certificates(tls, metrics) if tls.cert_file else None
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(tracing(settings.trace, version("somabrain")))
        identify = await stack.enter_async_context(open_authenticator(settings.auth, settings.grpc.host))
        policy = await stack.enter_async_context(policy_client(settings.policy, metrics))
        flags = await stack.enter_async_context(open_flags(settings, metrics))
        board = flags.board
        cache = await stack.enter_async_context(open_cache(settings.cache, metrics.cache))
        stocks = StorageQuota(
            lambda tenant: board.of(tenant).stock, settings.database.pool_size * settings.quota.replicas
        )
        store = await stack.enter_async_context(
            open_store(settings.postgres_dsn.get_secret_value(), settings.database, stocks, settings.search_index)
        )
        readiness = Readiness(store, metrics, health.follow)
        await health.follow(ready=False)

        # Probes answer while the encoder is still being loaded.
        def see_store() -> None:
            metrics.see_store(store.connections(), store.index_stats())

        kafka = KafkaHealth(settings.events) if settings.events.brokers else None
        others = {
            **flags.checks(),
            **({"redis": cache.last_check} if cache else {}),
            **({"kafka": kafka.found} if kafka else {}),
        }
        app = make_app(readiness, metrics, see_store, others)
        http_port = await stack.enter_async_context(http_server(settings.http, app))
        encoders = await stack.enter_async_context(open_encoders(settings.encoder))
        own = AppContext(
            store=store,
            encoders=metered(encoders, metrics),
            default_encoder=settings.encoder.kind,
            client_encoders={encoder.id: encoder.dimensions for encoder in settings.encoder.client},
            flags=board,
        )
        services = cached(own, cache)
        quotas = Quotas(board, settings.quota, metrics)
        server = make_server(settings.grpc, services, Chain(steps(identify, quotas, policy, metrics)), health)
        grpc_port = bind(server, settings.grpc, certificates.credentials() if certificates else None)
        await server.start()
        stack.push_async_callback(server.stop, settings.grpc.drain_s)
        duties = await stack.enter_async_context(
            open_duties(settings, services.encoders, services.clock, metrics, lambda: readiness.standing.ready)
        )
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(work()) for work in (readiness.watch, flags.follow)]
            if certificates:
                watching.append(tasks.create_task(certificates.watch()))
            if cache:
                watching.append(tasks.create_task(cache.watch()))
            if kafka:
                watching.append(tasks.create_task(kafka.watch()))
            working = [tasks.create_task(duty.run()) for duty in duties]
            _log.info("listening", grpc_port=grpc_port, http_port=http_port, host=settings.grpc.host)
            await stopping.wait()
            # First of all, so that another process takes over while this one drains.
            for task in working:
                task.cancel()
            # Clients that watch health, and endpoints that follow /ready, leave before calls are refused.
            await readiness.drain()
            _log.info("draining", notice_s=settings.grpc.shutdown_delay_s, at_most_s=settings.grpc.drain_s)
            await asyncio.sleep(settings.grpc.shutdown_delay_s)
            for task in watching:
                task.cancel()
            # Not before the notice is over, or they would come back here.
            services.watch_hub.close()
    _log.info("stopped")


def _stop_on_signals(stopping: asyncio.Event) -> None:
    """Stop in good order at the first signal, at once at the second."""

    def on_signal(number: signal.Signals) -> None:
        if stopping.is_set():
            _log.warning("ended at once", signal=number.name)
            os._exit(128 + number)
        _log.info("asked to stop", signal=number.name)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
