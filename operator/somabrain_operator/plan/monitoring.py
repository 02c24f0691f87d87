"""Step that adds the objects for Prometheus and Grafana whose kinds the cluster serves."""

from __future__ import annotations

from collections.abc import Iterator

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.objects import Manifest, text
from somabrain_operator.kube.owner import Owner
from somabrain_operator.plan.ownership import add_children
from somabrain_operator.plan.plan import Plan
from somabrain_operator.render.monitoring import render_dashboard, render_rules, render_service_monitor


def add_monitoring(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Add the objects of spec.monitoring; a missing kind does not affect the others."""
    return add_children(
        plan,
        (
            each
            for each in _monitoring_manifests(plan.owner, spec)
            if text(each, "kind") not in plan.observed.missing_kinds
        ),
    )


def missing_kind_notes(plan: Plan, spec: SomaBrainSpec) -> Iterator[str]:
    """Yield sentences for the status about objects of spec.monitoring whose kind is missing."""
    for each in _monitoring_manifests(plan.owner, spec):
        kind = text(each, "kind")
        if kind in plan.observed.missing_kinds:
            yield f"The {kind} of spec.monitoring is not created yet: the cluster has no such kind."


def _monitoring_manifests(owner: Owner, spec: SomaBrainSpec) -> Iterator[Manifest]:
    monitoring = spec.monitoring
    if monitoring.service_monitor:
        yield render_service_monitor(owner, monitoring.service_monitor)
    if monitoring.rules:
        yield render_rules(owner, monitoring.rules)
    if monitoring.dashboard:
        yield render_dashboard(owner, monitoring.dashboard)
