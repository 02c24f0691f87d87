"""The step that asks for what Prometheus and Grafana read, where the cluster has the kinds for it."""

from __future__ import annotations

from collections.abc import Iterator

from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.plan.asking import ask
from somabrain_operator.plan.values import Plan
from somabrain_operator.render.metadata import Owner
from somabrain_operator.render.monitoring import render_dashboard, render_rules, render_service_monitor
from somabrain_operator.tree import Manifest, text


def monitor(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Ask for what is wanted and can be; a kind that is missing keeps nothing else from being done."""
    return ask(plan, (each for each in _wanted(plan.owner, spec) if text(each, "kind") not in plan.observed.lacking))


def without_kind(plan: Plan, spec: SomaBrainSpec) -> Iterator[str]:
    """Yield what of the spec waits for a kind, for the status."""
    for each in _wanted(plan.owner, spec):
        kind = text(each, "kind")
        if kind in plan.observed.lacking:
            yield f"The {kind} of spec.monitoring is not made yet: the cluster has no such kind."


def _wanted(owner: Owner, spec: SomaBrainSpec) -> Iterator[Manifest]:
    wanted = spec.monitoring
    if wanted.service_monitor:
        yield render_service_monitor(owner, wanted.service_monitor)
    if wanted.rules:
        yield render_rules(owner, wanted.rules)
    if wanted.dashboard:
        yield render_dashboard(owner, wanted.dashboard)
