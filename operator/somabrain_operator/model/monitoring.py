"""What Prometheus and Grafana are given."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from somabrain_operator.model.affinity import Labels
from somabrain_operator.model.base import ApiModel


class ServiceMonitor(ApiModel):
    """Has Prometheus read the servers' metrics (Prometheus operator, kind ServiceMonitor)."""

    interval_seconds: Annotated[int, Field(ge=5, le=3600)] = 30
    """How often."""
    labels: Labels = Field({})
    """Labels by which a Prometheus selects it."""


class Rules(ApiModel):
    """Alerts (Prometheus operator, kind PrometheusRule)."""

    labels: Labels = Field({})
    """Labels by which a Prometheus selects them."""
    error_percent: Annotated[int, Field(ge=1, le=100)] = 5
    """More calls than this that fail through no fault of the caller, for ten minutes, are an alert."""
    slow_milliseconds: Annotated[int, Field(ge=1, le=60_000)] = 1000
    """One Recall in a hundred that takes longer, for ten minutes, is an alert."""


class Dashboard(ApiModel):
    """A dashboard as a ConfigMap that Grafana's side-car loads."""

    labels: Labels = Field({"grafana_dashboard": "1"})
    """Labels by which the side-car finds it."""


class Monitoring(ApiModel):
    """What is made for those who watch. Each part that is set is made, as soon as the cluster has its kind."""

    service_monitor: ServiceMonitor | None = None
    """Not set: whoever wants the metrics finds them at port 8080 of the pods, path /metrics."""
    rules: Rules | None = None
    """Not set: no alerts."""
    dashboard: Dashboard | None = None
    """Not set: no dashboard."""
