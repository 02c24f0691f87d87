"""The service process: opens every component in order, serves, drains, and closes them in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog

from common.aio.stop_signals import stop_on_signals
from common.config.rotation import CurrentSettings, secret_value
from common.config.settings import EventsSettings, Settings, TlsSettings
from common.errors import ConfigurationError
from common.net.http_server import http_server
from common.utils.auth_client import open_authenticator
from common.utils.cache import Cache, open_cache
from common.utils.trace import tracing
from somabrain_service.authz.opa import policy_client
from somabrain_service.background.open import open_jobs
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.database_clock import DatabaseClock
from somabrain_service.encoders.instrumented import instrumented
from somabrain_service.encoders.open import open_encoders
from somabrain_service.flags.open import open_flags
from somabrain_service.interceptors.chain import InterceptorChain, build_interceptors
from somabrain_service.interceptors.rate_limiter import RateLimiter
from somabrain_service.metrics import Metrics
from somabrain_service.recall.result_cache import CachedQueryVectors, CachedRanker
from somabrain_service.server.grpc import HealthService, bind, make_server
from somabrain_service.server.http import make_app
from somabrain_service.server.readiness import Readiness
from somabrain_service.server.supervision import supervise
from somabrain_service.store import kernel
from somabrain_service.store.open import open_store
from somabrain_service.store.postgres.storage_quota import StorageQuota

if TYPE_CHECKING:
    from somabrain_service.events.kafka_health import KafkaHealth
    from somabrain_service.server.tls import CertificateWatcher

_log = structlog.stdlib.get_logger(__name__)


async def serve(settings: Settings, adapt: Callable[[Settings], Settings] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Reading down is startup, unwinding is shutdown.

    Args:
        settings: the settings at the start.
        adapt: returns settings that were loaded again as `settings` were adapted to this process; None: not at all.

    Raises:
        ConfigurationError: a component cannot be opened as configured.
    """
    if settings.postgres_dsn is None:
        raise ConfigurationError("postgres_dsn: is required; set SOMABRAIN_POSTGRES_DSN to a URL of the app role.")
    stop_requested = asyncio.Event()
    stop_on_signals(stop_requested)
    if settings.auth.mode == "none":
        _log.warning("authentication disabled", reason="auth.mode=none", tenant=settings.auth.anonymous_tenant)
    metrics, health = Metrics(), HealthService()
    tls, rotated = settings.grpc.tls, CurrentSettings(settings, adapt=adapt)
    certificates = _certificate_watcher(tls, metrics)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(tracing(settings.trace, version("somabrain"), lambda: rotated.get().trace))
        authn = await stack.enter_async_context(
            open_authenticator(settings.auth, settings.grpc.host, lambda: rotated.get().auth)
        )
        policy = await stack.enter_async_context(policy_client(settings.policy, metrics))
        flags = await stack.enter_async_context(open_flags(settings, metrics, rotated.get))
        flag_store = flags.store
        cache = await stack.enter_async_context(open_cache(settings.cache, metrics.cache, lambda: rotated.get().cache))
        storage_quota = StorageQuota(
            lambda tenant: flag_store.for_tenant(tenant).storage_limit,
            settings.database.pool_size * settings.quota.replicas,
        )
        metrics.search_kernel.set(kernel.is_installed())
        if not kernel.is_installed():
            _log.warning(
                "no search index",
                reason="the package somabrain-kernel is not installed",
                effect="PostgreSQL answers every Recall: slower, and of more than 50,000 vectors only the newest",
                remedy="pip install ./kernel, in the sources of this version",
            )
        store = await stack.enter_async_context(
            open_store(
                settings.postgres_dsn.get_secret_value(),
                settings.database,
                storage_quota,
                settings.search_index,
                current_dsn=lambda: secret_value(rotated.get().postgres_dsn),
            )
        )
        clock = DatabaseClock()
        readiness = Readiness(store, metrics, health.set_serving_status, clock)
        await health.set_serving_status(ready=False)

        # Probes answer while the encoder is still being loaded.
        def sample_store() -> None:
            metrics.record_store(store.connections(), store.index_stats())

        kafka = _kafka_health(settings.events, lambda: rotated.get().events)
        dependencies = {
            **authn.checks(),
            **flags.checks(),
            **({"redis": cache.last_check} if cache else {}),
            **({"kafka": kafka.last_check} if kafka else {}),
        }
        app = make_app(readiness, metrics, sample_store, dependencies)
        http_port = await stack.enter_async_context(http_server(settings.http, app))
        encoders = await stack.enter_async_context(open_encoders(settings.encoder))
        uncached = AppContext(
            store=store,
            encoders=instrumented(encoders, metrics),
            default_encoder=settings.encoder.kind,
            client_encoders={encoder.id: encoder.dimensions for encoder in settings.encoder.client},
            flags=flag_store,
            clock=clock.now,
        )
        app_context = with_result_cache(uncached, cache)
        rate_limiter = RateLimiter(flag_store, settings.quota, metrics)
        server = make_server(
            settings.grpc,
            app_context,
            InterceptorChain(build_interceptors(authn, rate_limiter, policy, metrics)),
            health,
        )
        grpc_port = bind(server, settings.grpc, certificates.credentials() if certificates else None)
        await server.start()
        stack.push_async_callback(server.stop, settings.grpc.drain_s)
        jobs = await stack.enter_async_context(
            open_jobs(
                settings, app_context.encoders, app_context.clock, metrics, lambda: readiness.state.ready, rotated.get
            )
        )
        async with asyncio.TaskGroup() as tasks:
            watchers = {"readiness": readiness.watch, "flags": flags.watch, "issuer": authn.watch}
            if certificates:
                watchers["certificate"] = certificates.watch
            if cache:
                watchers["redis"] = cache.watch
            if kafka:
                watchers["kafka"] = kafka.watch
            watch_tasks = [tasks.create_task(supervise(name, watch)) for name, watch in watchers.items()]
            job_tasks = [tasks.create_task(job.run()) for job in jobs]
            _log.info("listening", grpc_port=grpc_port, http_port=http_port, host=settings.grpc.host)
            await stop_requested.wait()
            # Jobs stop first, so that another process takes them over while this one drains.
            for task in job_tasks:
                task.cancel()
            # Clients that watch health, and endpoints that follow /ready, leave before calls are refused.
            await readiness.drain()
            _log.info("draining", notice_s=settings.grpc.shutdown_delay_s, at_most_s=settings.grpc.drain_s)
            await asyncio.sleep(settings.grpc.shutdown_delay_s)
            for task in watch_tasks:
                task.cancel()
            # Not before the shutdown delay is over, or watching clients would reconnect to this process.
            app_context.watch_hub.close()
    _log.info("stopped")


# Libraries that not every process uses are imported where they are, because imports are most of a start.


def _certificate_watcher(tls: TlsSettings, metrics: Metrics) -> CertificateWatcher | None:
    if not tls.cert_file:
        return None
    from somabrain_service.server.tls import CertificateWatcher

    return CertificateWatcher(tls, metrics)


def _kafka_health(events: EventsSettings, current: Callable[[], EventsSettings]) -> KafkaHealth | None:
    if not events.brokers:
        return None
    from somabrain_service.events.kafka_health import KafkaHealth

    return KafkaHealth(events, current)


def with_result_cache(context: AppContext, cache: Cache | None) -> AppContext:
    """Return the context with ranker and query vectors cached in Redis; unchanged if `cache` is None."""
    if cache is None:
        return context
    return replace(
        context,
        ranker=CachedRanker(context.ranker, cache),
        query_vectors=CachedQueryVectors(context.query_vectors, cache),
    )
