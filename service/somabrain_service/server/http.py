"""`/livez`, `/ready`, `/healthz`, `/metrics`.

`/livez` covers the process only: restarting pods because the database is down would make an outage worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from common.health import HealthCheck, HealthProbe
from common.net.http_server import METRICS_CONTENT_TYPE, probe_application
from somabrain_service.metrics import Metrics
from somabrain_service.server.readiness import Readiness, ReadinessState


def make_app(
    readiness: Readiness, metrics: Metrics, update_metrics: Callable[[], None], dependencies: Mapping[str, HealthProbe]
) -> web.Application:
    """Return the application; `update_metrics` is called before each exposition.

    `dependencies` are optional: the service is degraded without one, and still serves.
    """

    async def ready(_: web.Request) -> web.Response:
        state = readiness.state
        body = {"ready": state.ready, "reason": state.reason}
        return web.json_response(body, status=200 if state.ready else 503)

    async def healthz(_: web.Request) -> web.Response:
        postgres, optional = postgres_check(readiness.state), {name: probe() for name, probe in dependencies.items()}
        status = "failing" if not postgres.ok else "ok" if all(check.ok for check in optional.values()) else "degraded"
        checks = {name: check.to_json() for name, check in {"postgres": postgres, **optional}.items()}
        return web.json_response({"status": status, "checks": checks}, status=200 if postgres.ok else 503)

    async def expose_metrics(_: web.Request) -> web.Response:
        update_metrics()
        for name, probe in dependencies.items():
            metrics.dependency_up.labels(name).set(probe().ok)
        return web.Response(body=metrics.exposition(), headers={"Content-Type": METRICS_CONTENT_TYPE})

    return probe_application(ready, healthz, expose_metrics)


def postgres_check(state: ReadinessState) -> HealthCheck:
    """Return PostgreSQL's health and latency; an incompatible schema counts only for readiness."""
    return HealthCheck(state.latency_s is not None, state.reason, state.latency_s, state.notes)
