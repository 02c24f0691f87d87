"""HTTP server: of probes and metrics, the same in both images, and of the MCP endpoint."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from common.config.settings import HttpSettings
from common.errors import ConfigurationError

ALL_ADDRESSES: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

METRICS_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def probe_application(ready: Handler, healthz: Handler, metrics: Handler) -> web.Application:
    """Return an application with these paths, and with `/livez`, which answers while the process runs."""

    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    application = web.Application()
    application.add_routes(
        [
            web.get("/livez", livez),
            web.get("/ready", ready),
            web.get("/healthz", healthz),
            web.get("/metrics", metrics),
        ]
    )
    return application


@asynccontextmanager
async def http_server(
    http: HttpSettings, app: web.Application, *, setting: str = "http", drain_s: float = 1.0, cancel_calls: bool = False
) -> AsyncIterator[int]:
    """Serve `app` and yield the port it listens on.

    Args:
        http: where to listen.
        app: the application.
        setting: group of settings that `http` comes from, for errors.
        drain_s: maximum seconds for calls in flight to finish at the end; then they are cancelled.
        cancel_calls: cancel a call when its client disconnects.

    Raises:
        ConfigurationError: the port cannot be bound.
    """
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=drain_s, handler_cancellation=cancel_calls
    )
    await runner.setup()
    try:
        try:
            await _site(runner, http).start()
        except OSError as exc:
            raise ConfigurationError(
                f"{setting}.port: {http.host}:{http.port} cannot be bound ({_reason(exc)}); free it or choose another."
            ) from exc
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _reason(error: OSError) -> str:
    """Return the reason without the address, which Python adds and which may be another than that of the setting."""
    return (error.strerror or str(error)).partition(" (while attempting")[0]


def _site(runner: web.AppRunner, http: HttpSettings) -> web.BaseSite:
    """Return the listener; for all addresses it takes those of IPv4 and IPv6, as gRPC's own does.

    The kubelet probes a pod at its address, which is of IPv6 in a cluster without IPv4.
    """
    if http.host in ALL_ADDRESSES and socket.has_dualstack_ipv6():
        listener = socket.create_server(("::", http.port), family=socket.AF_INET6, dualstack_ipv6=True)
        return web.SockSite(runner, listener)
    return web.TCPSite(runner, http.host, http.port)
