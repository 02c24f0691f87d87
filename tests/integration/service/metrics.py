"""Values of /metrics."""

from __future__ import annotations

from tests.integration.service.service_process import ServiceProcess
from tests.support.metrics import read_metrics


def series(running: ServiceProcess, name: str) -> float:
    """The value of one series of /metrics; 0 if it does not exist."""
    return read_metrics(running.get("/metrics")[1]).get(name, 0.0)
