"""Values of /metrics."""

from __future__ import annotations

from tests.integration.service.service_process import ServiceProcess


def series(running: ServiceProcess, name: str) -> float:
    """The value of one series of /metrics; 0 when it is not there."""
    for line in running.get("/metrics")[1].splitlines():
        if line.startswith(name + " "):
            return float(line.rpartition(" ")[2])
    return 0.0
