"""HTTP endpoints /healthz, /livez and /metrics of the operator itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from somabrain_operator.metrics import Metrics

STUCK_S: Final = 180.0
"""Maximum age of a key in the queue: beyond it the operator is stuck, as every call has a timeout."""
MAX_OVERDUE_LEASES: Final = 3
"""Lease durations that an expected event may be overdue: beyond it the watch delivers nothing any more."""
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HealthInputs:
    """Values that decide the health."""

    oldest_s: Callable[[], float]
    """Age of the oldest key in the queue, in seconds."""
    watch_overdue_s: Callable[[], float]
    """Seconds that an expected watch event is overdue."""
    max_watch_overdue_s: float
    """Maximum of it while healthy."""
    leading: Callable[[], bool]
    """Return True if this operator is the leader; a standby is as healthy."""
    outages: Callable[[], Sequence[str]]
    """Return why this operator can reconcile nothing, as sentences with the remedy."""
    degradations: Callable[[], Sequence[str]]
    """Return why it cannot reconcile some resources, as sentences with the remedy."""


def make_app(metrics: Metrics, inputs: HealthInputs) -> web.Application:
    """Return the application. Any response shows that the event loop runs."""

    def defect() -> str:
        """Return what a restart of the process mends, or an empty string."""
        if inputs.oldest_s() > STUCK_S:
            return "stuck"
        return "watch frozen" if inputs.watch_overdue_s() > inputs.max_watch_overdue_s else ""

    async def livez(_: web.Request) -> web.Response:
        status = defect() or "ok"
        return web.json_response({"status": status}, status=200 if status == "ok" else 503)

    async def healthz(_: web.Request) -> web.Response:
        outages, degradations = inputs.outages(), inputs.degradations()
        status = defect() or ("failing" if outages else "degraded" if degradations else "ok")
        body = {
            "status": status,
            "leading": inputs.leading(),
            "oldest_key_s": round(inputs.oldest_s(), 3),
            "watch_silent_s": round(inputs.watch_overdue_s(), 3),
        }
        if reasons := list(dict.fromkeys((*outages, *degradations))):
            body["reasons"] = reasons
        return web.json_response(body, status=200 if status in ("ok", "degraded") else 503)

    async def expose(_: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": METRICS_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/livez", livez), web.get("/metrics", expose)])
    return app
