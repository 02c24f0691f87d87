"""`/livez`, `/ready`, `/healthz`, `/metrics`.

`/livez` is of the process only: a kubelet that restarted pods because the database is away would make it worse.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from common.config.settings import HttpSettings
from common.errors import ConfigurationError
from common.health import HealthCheck, HealthProbe
from somabrain_service.metrics import Metrics
from somabrain_service.readiness import Readiness, Standing

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def make_app(
    readiness: Readiness, metrics: Metrics, sample: Callable[[], None], others: Mapping[str, HealthProbe]
) -> web.Application:
    """Return the application; `sample` is called before metrics are read.

    `others` are dependencies without which the service is less than it could be, and serves.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(_: web.Request) -> web.Response:
        standing = readiness.standing
        body = {"ready": standing.ready, "reason": standing.reason}
        return web.json_response(body, status=200 if standing.ready else 503)

    async def healthz(_: web.Request) -> web.Response:
        postgres, less = postgres_check(readiness.standing), {name: look() for name, look in others.items()}
        status = "failing" if not postgres.ok else "ok" if all(check.ok for check in less.values()) else "degraded"
        checks = {name: check.to_json() for name, check in {"postgres": postgres, **less}.items()}
        return web.json_response({"status": status, "checks": checks}, status=200 if postgres.ok else 503)

    async def expose(_: web.Request) -> web.Response:
        sample()
        for name, look in others.items():
            metrics.dependency_up.labels(name).set(look().ok)
        return web.Response(body=metrics.exposition(), headers={"Content-Type": METRICS_TYPE})

    app = web.Application()
    app.add_routes(
        [web.get("/livez", livez), web.get("/ready", ready), web.get("/healthz", healthz), web.get("/metrics", expose)]
    )
    return app


def postgres_check(standing: Standing) -> HealthCheck:
    """Return whether PostgreSQL answers, and how fast; a schema that does not fit is readiness' business."""
    return HealthCheck(standing.latency_s is not None, standing.reason, standing.latency_s)


@asynccontextmanager
async def http_server(http: HttpSettings, app: web.Application) -> AsyncIterator[int]:
    """Serve `app` and yield the port it listens on.

    Raises:
        ConfigurationError: the port cannot be bound.
    """
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, http.host, http.port)
        try:
            await site.start()
        except OSError as exc:
            raise ConfigurationError(
                f"http.port: {http.host}:{http.port} cannot be bound ({exc.strerror}); free it or choose another."
            ) from exc
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
