"""Objects for Prometheus and Grafana."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from somabrain_operator.api.v1alpha1.affinity import Labels
from somabrain_operator.api.v1alpha1.base import ApiModel


class ServiceMonitor(ApiModel):
    """ServiceMonitor of the Prometheus operator, which has Prometheus scrape the servers' metrics."""

    interval_seconds: Annotated[int, Field(ge=5, le=3600)] = 30
    """Scrape interval, in seconds."""
    labels: Labels = Field({})
    """Labels by which a Prometheus selects the ServiceMonitor."""


class Rules(ApiModel):
    """PrometheusRule of the Prometheus operator, with alerts."""

    labels: Labels = Field({})
    """Labels by which a Prometheus selects the PrometheusRule."""
    error_percent: Annotated[int, Field(ge=1, le=100)] = 5
    """Percentage of calls that fail with a server error; more than that for ten minutes raises an alert."""
    slow_milliseconds: Annotated[int, Field(ge=1, le=60_000)] = 1000
    """99th percentile of Recall latency, in milliseconds; more than that for ten minutes raises an alert."""


class Dashboard(ApiModel):
    """Dashboard as a ConfigMap that Grafana's side-car loads."""

    labels: Labels = Field({"grafana_dashboard": "1"})
    """Labels by which the side-car selects the ConfigMap."""


class Monitoring(ApiModel):
    """Monitoring objects. Each one that is set is created as soon as the cluster has its kind."""

    service_monitor: ServiceMonitor | None = None
    """ServiceMonitor. Not set: none; the metrics are at port 8080 of the pods, path /metrics."""
    rules: Rules | None = None
    """Alerts. Not set: none."""
    dashboard: Dashboard | None = None
    """Dashboard for Grafana. Not set: none."""
