"""The MCP server over HTTP: opens every part in order, serves, drains, and closes them in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from common.aio.stop_signals import stop_on_signals
from common.config.rotation import CurrentSettings
from common.config.settings import HttpSettings, Settings
from common.errors import ConfigurationError
from common.health import HealthProbe
from common.net.http_server import METRICS_CONTENT_TYPE, http_server, probe_application
from common.utils import trace
from common.utils.auth_client import is_loopback, open_authenticator
from somabrain_client.credentials import TokenSource
from somabrain_client.mcp import service_tokens
from somabrain_client.mcp.calls import current_call
from somabrain_client.mcp.embedded_service import DEFAULT_NAMESPACE, embedded_client, embedded_service
from somabrain_client.mcp.endpoint import MAX_BODY_BYTES, Endpoint
from somabrain_client.mcp.metrics import Metrics
from somabrain_client.mcp.protected_resource import ProtectedResource, endpoint_path
from somabrain_client.mcp.request_origin import accepted_origins
from somabrain_client.mcp.server import ToolServer
from somabrain_client.mcp.service_health import ServiceHealth
from somabrain_client.mcp.service_tls import service_tls
from somabrain_client.mcp.token_exchange import TokenExchange
from somabrain_client.memory_client import MemoryClient

_log = structlog.stdlib.get_logger(__name__)


class Readiness:
    """Readiness of the process: from its start until it drains. The memory service's is not part of it.

    A call while the service is unavailable is answered with that, and the remedy, instead of a refused connection.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.ready = False
        self.reason = "The MCP server has just started."

    def set(self, ready: bool, reason: str) -> None:
        """Change the state."""
        self.ready, self.reason = ready, reason
        self._metrics.ready.set(ready)


async def serve_embedded(settings: Settings, data_dir: Path | None) -> None:
    """Serve on loopback, without authentication, with its own memory service, which is started and stopped.

    Raises:
        ConfigurationError: the service is not installed, or a part cannot be opened as configured.
        Unavailable: the service does not start.
    """
    mcp = settings.mcp.model_copy(update={"host": "127.0.0.1", "shutdown_delay_s": 0.0})
    namespace = mcp.namespace or DEFAULT_NAMESPACE
    async with (
        embedded_service(data_dir) as address,
        embedded_client(address, namespace, mcp.deadline_s) as connect,
    ):
        await connect()
        changes = {
            "mcp": mcp.model_copy(update={"address": await address, "namespace": namespace}),
            "auth": settings.auth.model_copy(update={"mode": "none"}),
            "http": settings.http.model_copy(update={"host": "127.0.0.1"}),
        }
        await serve(settings.model_copy(update=changes))


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Raises:
        ConfigurationError: a part cannot be opened as configured.
    """
    mcp = settings.mcp
    resource = protected_resource(settings)
    stop_requested = asyncio.Event()
    stop_on_signals(stop_requested)
    if settings.auth.mode == "none":
        _log.warning("authentication disabled", reason="auth.mode=none", tenant=settings.auth.anonymous_tenant)
    metrics, rotated, tls = Metrics(), CurrentSettings(settings), service_tls(mcp)
    readiness = Readiness(metrics)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            trace.tracing(settings.trace, version("somabrain"), lambda: rotated.get().trace)
        )
        authn = await stack.enter_async_context(
            open_authenticator(settings.auth, mcp.host, lambda: rotated.get().auth, setting="mcp.host")
        )
        token: TokenSource | None = None
        reject: Callable[[str], None] | None = None
        exchanges: dict[str, HealthProbe] = {}
        if mcp.exchange.url is not None:
            exchange = await stack.enter_async_context(
                TokenExchange(mcp.exchange, settings.auth, lambda: rotated.get().mcp.exchange, metrics.count_exchange)
            )
            token, reject = service_tokens.exchanged(exchange), exchange.discard
            exchanges["token endpoint"] = exchange.last_check
        elif settings.auth.mode != "none":
            token = service_tokens.passed_on
        client = await stack.enter_async_context(
            MemoryClient(mcp.address, token=token, deadline_s=mcp.deadline_s, tls=tls, traceparent=_traceparent)
        )
        health = await stack.enter_async_context(ServiceHealth(mcp.address, tls))

        async def connect() -> MemoryClient:
            return client

        tools = ToolServer(connect, mcp.namespace, metrics)
        manager = StreamableHTTPSessionManager(
            tools.sdk, json_response=True, stateless=True, max_request_body_size=MAX_BODY_BYTES
        )
        await stack.enter_async_context(manager.run())
        origin = accepted_origins(
            mcp.allowed_hosts, mcp.allowed_origins, mcp.resource_url, loopback=is_loopback(mcp.host)
        )
        endpoint = Endpoint(tools, manager.handle_request, origin, authn, resource, metrics, reject)
        probes = _probes(readiness, metrics, {"service": health.last_check, **authn.checks(), **exchanges})
        http_port = await stack.enter_async_context(http_server(settings.http, probes))
        path = endpoint_path(mcp.resource_url)
        port = await stack.enter_async_context(
            http_server(
                HttpSettings(host=mcp.host, port=mcp.port),
                endpoint.web_application(path),
                setting="mcp",
                drain_s=mcp.drain_s,
                cancel_calls=True,
            )
        )
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(each()) for each in (health.watch, authn.watch)]
            readiness.set(True, "The MCP server is listening.")
            _log.info("listening", mcp_port=port, http_port=http_port, host=mcp.host, path=path)
            await stop_requested.wait()
            endpoint.draining = True
            readiness.set(False, "The MCP server is draining: it is shutting down.")
            _log.info("draining", notice_s=mcp.shutdown_delay_s, at_most_s=mcp.drain_s)
            await asyncio.sleep(mcp.shutdown_delay_s)
            for task in watching:
                task.cancel()
    _log.info("stopped")


def protected_resource(settings: Settings) -> ProtectedResource | None:
    """Return what the MCP server is as a protected resource; None: callers are not authenticated.

    Raises:
        ConfigurationError: its URL is missing, or it has no token for the memory service.
    """
    auth, mcp = settings.auth, settings.mcp
    if auth.mode == "none":
        return None
    if mcp.resource_url is None:
        raise ConfigurationError(
            "mcp.resource_url: is required unless auth.mode=none; set it to the public URL of the MCP endpoint."
        )
    if mcp.exchange.url is None and not mcp.same_resource:
        raise ConfigurationError(
            "mcp.exchange.url: is required unless auth.mode=none, because MCP forbids to pass a token on to another "
            "resource; set it to the token endpoint, or mcp.same_resource if both are one resource with one audience."
        )
    return ProtectedResource(mcp.resource_url, auth.issuer, auth.scope_claim is not None)


def _traceparent() -> str:
    """Return the trace context for the service: of our span, or without spans of our own the caller's."""
    return trace.traceparent() or current_call.get().traceparent


def _probes(readiness: Readiness, metrics: Metrics, dependencies: dict[str, HealthProbe]) -> web.Application:
    """Return `/livez`, `/ready`, `/healthz` and `/metrics`, as the memory service has them."""

    async def ready(_: web.Request) -> web.Response:
        body: dict[str, Any] = {"ready": readiness.ready, "reason": readiness.reason}
        return web.json_response(body, status=200 if readiness.ready else 503)

    async def healthz(_: web.Request) -> web.Response:
        checks = {name: probe() for name, probe in dependencies.items()}
        status = "ok" if all(check.ok for check in checks.values()) else "degraded"
        return web.json_response({"status": status, "checks": {name: each.to_json() for name, each in checks.items()}})

    async def expose_metrics(_: web.Request) -> web.Response:
        for name, probe in dependencies.items():
            metrics.dependency_up.labels(name).set(probe().ok)
        return web.Response(body=metrics.exposition(), headers={"Content-Type": METRICS_CONTENT_TYPE})

    return probe_application(ready, healthz, expose_metrics)
