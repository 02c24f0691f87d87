"""ServiceMonitor, alerts and dashboard of a SomaBrain; every metric in them is exposed by the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from somabrain_operator.api.v1alpha1.monitoring import Dashboard, Rules, ServiceMonitor
from somabrain_operator.kube import names
from somabrain_operator.kube.children import DASHBOARD, HEADLESS
from somabrain_operator.kube.hashing import content_hash
from somabrain_operator.kube.objects import Json, Manifest
from somabrain_operator.kube.owner import Owner
from somabrain_operator.render.metadata import render_object

MONITORING: Final = "monitoring.coreos.com/v1"
_SERVER_ERROR_CODES: Final = "INTERNAL|UNAVAILABLE|UNKNOWN|DATA_LOSS|DEADLINE_EXCEEDED"
_WEEK_S: Final = 7 * 24 * 3600
_LAG_S: Final = 900


def render_service_monitor(owner: Owner, spec: ServiceMonitor) -> Manifest:
    """Return the ServiceMonitor of the headless Service, which has one endpoint per pod."""
    return render_object(
        owner,
        names.SERVER,
        (MONITORING, "ServiceMonitor"),
        {
            "spec": {
                "selector": {"matchLabels": names.labels(owner.key.name, HEADLESS)},
                "endpoints": [{"port": "http", "path": "/metrics", "interval": f"{spec.interval_seconds}s"}],
            }
        },
        labels=spec.labels,
    )


@dataclass(frozen=True, slots=True)
class _Alert:
    name: str
    expression: str
    after: str
    severity: str
    summary: str
    remedy: str


def render_rules(owner: Owner, spec: Rules) -> Manifest:
    """Return the PrometheusRule of the alerts; each has a summary of the problem and a hint for its diagnosis."""
    resource_name = f"{owner.key.namespace}/{owner.key.name}"
    rules: list[Json] = [
        {
            "alert": each.name,
            "expr": each.expression,
            "for": each.after,
            "labels": {"severity": each.severity, "somabrain": owner.key.name},
            "annotations": {"summary": f"SomaBrain {resource_name}: {each.summary}", "description": each.remedy},
        }
        for each in _alerts(owner, spec)
    ]
    return render_object(
        owner,
        names.SERVER,
        (MONITORING, "PrometheusRule"),
        {"spec": {"groups": [{"name": f"somabrain-{owner.key.namespace}-{owner.key.name}", "rules": rules}]}},
        labels=spec.labels,
    )


def _alerts(owner: Owner, spec: Rules) -> Iterator[_Alert]:
    selector = _selector(owner)
    yield _Alert(
        "SomaBrainNotReady",
        f"max(somabrain_ready{{{selector}}}) < 1",
        "5m",
        "critical",
        "no server is ready.",
        f"For the cause: kubectl describe sb {owner.key.name} -n {owner.key.namespace}.",
    )
    calls = f"sum(rate(grpc_server_handled_total{{{selector}}}[5m]))"
    errors = f'sum(rate(grpc_server_handled_total{{{selector},grpc_code=~"{_SERVER_ERROR_CODES}"}}[5m]))'
    yield _Alert(
        "SomaBrainFailing",
        f"{errors} / {calls} > {spec.error_percent / 100:g}",
        "10m",
        "critical",
        f"more than {spec.error_percent} % of the calls fail.",
        "The servers' logs have the cause of each failed call, with its request id.",
    )
    latency_buckets = f'sum by (le) (rate(grpc_server_handling_seconds_bucket{{{selector},grpc_method="Recall"}}[5m]))'
    yield _Alert(
        "SomaBrainSlow",
        f"histogram_quantile(0.99, {latency_buckets}) > {spec.slow_milliseconds / 1000:g}",
        "10m",
        "warning",
        f"the 99th percentile of Recall latency is above {spec.slow_milliseconds} ms.",
        "Compare somabrain_encoder_seconds, somabrain_policy_seconds and PostgreSQL; add replicas if CPU is short.",
    )
    yield _Alert(
        "SomaBrainPolicyUnreachable",
        f'sum(rate(somabrain_policy_decisions_total{{{selector},outcome=~"unreachable|failed"}}[5m])) > 0',
        "5m",
        "critical",
        "calls are denied because the policy engine does not respond, or cannot evaluate the policy.",
        "Check the container opa of the pods, or spec.opa.url; the servers' logs have OPA's error.",
    )
    expiry = f"min(somabrain_tls_certificate_expiry_timestamp_seconds{{{selector}}} > 0)"
    yield _Alert(
        "SomaBrainCertificateExpires",
        f"{expiry} - time() < {_WEEK_S}",
        "1h",
        "warning",
        "the certificate of the gRPC port expires within a week.",
        "Renew the Secret of spec.grpc.tls; no restart is needed.",
    )
    yield _Alert(
        "SomaBrainBackgroundWorkLags",
        f"max({_job_lag(selector)}) > {_LAG_S}",
        "15m",
        "warning",
        "a background job lags by more than 15 minutes.",
        "somabrain_background_job_runs_total shows failed runs; the servers' logs have the cause.",
    )


def _job_lag(selector: str) -> str:
    """Return an expression for the lag of each background job, by its present or former metric name."""
    former = f'label_replace(somabrain_worker_lag_seconds{{{selector}}}, "job", "$1", "worker", "(.*)")'
    return f"somabrain_background_job_lag_seconds{{{selector}}} or {former}"


def _selector(owner: Owner) -> str:
    return f'namespace="{owner.key.namespace}",service="{owner.child(HEADLESS)}"'


def render_dashboard(owner: Owner, spec: Dashboard) -> Manifest:
    """Return the ConfigMap of the dashboard."""
    board = json.dumps(_dashboard(owner), separators=(",", ":"))
    data = {f"somabrain-{owner.key.namespace}-{owner.key.name}.json": board}
    return render_object(owner, DASHBOARD, ("v1", "ConfigMap"), {"data": data}, labels=spec.labels)


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    unit: str
    series: tuple[tuple[str, str], ...]
    """Expression and legend of each series."""


def _panels(owner: Owner) -> Iterator[_Panel]:
    selector = _selector(owner)
    yield _Panel(
        "Calls",
        "reqps",
        (
            (
                f"sum by (grpc_method) (rate(grpc_server_handled_total{{{selector}}}[$__rate_interval]))",
                "{{grpc_method}}",
            ),
        ),
    )
    yield _Panel(
        "Failed calls",
        "reqps",
        (
            (
                f'sum by (grpc_code) (rate(grpc_server_handled_total{{{selector},grpc_code!="OK"}}[$__rate_interval]))',
                "{{grpc_code}}",
            ),
        ),
    )
    buckets = f"sum by (le, grpc_method) (rate(grpc_server_handling_seconds_bucket{{{selector}}}[$__rate_interval]))"
    yield _Panel("Call latency, 99th percentile", "s", ((f"histogram_quantile(0.99, {buckets})", "{{grpc_method}}"),))
    yield _Panel("Calls in flight", "short", ((f"sum by (pod) (grpc_server_in_flight{{{selector}}})", "{{pod}}"),))
    yield _Panel(
        "Authentication and policy",
        "reqps",
        (
            (
                f"sum by (cause) (rate(somabrain_auth_failures_total{{{selector}}}[$__rate_interval]))",
                "not authenticated: {{cause}}",
            ),
            (
                f"sum by (outcome) (rate(somabrain_policy_decisions_total{{{selector}}}[$__rate_interval]))",
                "{{outcome}}",
            ),
        ),
    )
    encoding = f"sum by (le) (rate(somabrain_encoder_seconds_bucket{{{selector}}}[$__rate_interval]))"
    yield _Panel(
        "Latency of encoder and PostgreSQL",
        "s",
        (
            (f"histogram_quantile(0.99, {encoding})", "encoder, 99th percentile"),
            (f"max(somabrain_store_probe_seconds{{{selector}}})", "PostgreSQL probe"),
        ),
    )
    yield _Panel(
        "Connections to PostgreSQL",
        "short",
        ((f"sum by (state) (somabrain_store_connections{{{selector}}})", "{{state}}"),),
    )
    yield _Panel("Memory", "bytes", ((f"process_resident_memory_bytes{{{selector}}}", "{{pod}}"),))
    yield _Panel("CPU", "short", ((f"rate(process_cpu_seconds_total{{{selector}}}[$__rate_interval])", "{{pod}}"),))
    yield _Panel("Lag of background jobs", "s", ((f"max by (job) ({_job_lag(selector)})", "{{job}}"),))


def _dashboard(owner: Owner) -> dict[str, Json]:
    """Return the dashboard in Grafana's JSON format, two panels per row."""
    source: dict[str, Json] = {"type": "prometheus", "uid": "${datasource}"}
    panels: list[Json] = [
        {
            "id": index + 1,
            "type": "timeseries",
            "title": panel.title,
            "datasource": source,
            "gridPos": {"x": 12 * (index % 2), "y": 8 * (index // 2), "w": 12, "h": 8},
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend, "datasource": source}
                for number, (expression, legend) in enumerate(panel.series)
            ],
        }
        for index, panel in enumerate(_panels(owner))
    ]
    choice: dict[str, Json] = {
        "name": "datasource",
        "type": "datasource",
        "query": "prometheus",
        "label": "Prometheus",
    }
    return {
        "uid": f"sb-{content_hash(list(owner.key))}",
        "title": f"SomaBrain {owner.key.namespace}/{owner.key.name}",
        "tags": ["somabrain"],
        "schemaVersion": 39,
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [choice]},
        "panels": panels,
    }
