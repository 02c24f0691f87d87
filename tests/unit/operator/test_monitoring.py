"""Rules and dashboard use metrics that exist, and are created only where the cluster has their kinds."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from somabrain_operator.kube.names import ChildId, child_id
from somabrain_operator.observe.state import ObservedState
from somabrain_service.metrics import Metrics
from tests.unit.operator.samples import conditions, migrated, observed, plan, settled, spec

EVERYTHING: dict[str, Any] = {"serviceMonitor": {}, "rules": {}, "dashboard": {}}
MONITOR, RULES = ChildId("ServiceMonitor", "quickstart-server"), ChildId("PrometheusRule", "quickstart-server")
DASHBOARD = ChildId("ConfigMap", "quickstart-dashboard")
MISSING = frozenset({"ServiceMonitor", "PrometheusRule"})
EXPOSED = {
    sample
    for family in Metrics().registry.collect()
    for sample in (family.name, f"{family.name}_total", f"{family.name}_bucket", f"{family.name}_sum")
}
"""Every name that the service exposes, or will once it has counted."""


def monitored(**fields: Any) -> ObservedState:
    return observed(spec(monitoring=EVERYTHING), status=migrated(), **fields)


def applied(state: ObservedState) -> dict[ChildId, Any]:
    return {child_id(each): each for each in plan(state).apply}


def expressions() -> list[str]:
    """Return every expression of rules and dashboard."""
    manifests = applied(monitored())
    rules = [rule["expr"] for group in manifests[RULES]["spec"]["groups"] for rule in group["rules"]]
    (board,) = (json.loads(text) for text in manifests[DASHBOARD]["data"].values())
    return rules + [target["expr"] for panel in board["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_every_referenced_metric_is_exposed(expression: str) -> None:
    """Each metric in a rule or panel is exposed: a rule over an unknown metric would never fire."""
    names = set(re.findall(r"\b(?:grpc|somabrain|process)_[a-z_]+(?=\{)", expression))
    assert names
    assert names <= EXPOSED


def test_service_monitor_selects_headless_service() -> None:
    """The ServiceMonitor selects the headless Service, so that each pod is scraped under its own name."""
    objects = applied(monitored())
    selector = objects[MONITOR]["spec"]["selector"]["matchLabels"]
    chosen = [
        each["metadata"]["name"]
        for each in objects.values()
        if each["kind"] == "Service" and selector.items() <= each["metadata"]["labels"].items()
    ]
    assert chosen == ["quickstart-headless"]
    ports = {port["name"] for port in objects[ChildId("Service", "quickstart-headless")]["spec"]["ports"]}
    assert {each["port"] for each in objects[MONITOR]["spec"]["endpoints"]} <= ports


def test_missing_kind_does_not_block_other_objects() -> None:
    """Other objects are applied when a kind is missing, and the status names the objects that wait for it."""
    state = monitored(missing_kinds=MISSING)
    assert {MONITOR, RULES} & set(applied(state)) == set()
    assert DASHBOARD in applied(state)
    message = conditions(state)["ConfigValid"]["message"]
    assert "The ServiceMonitor of spec.monitoring is not created yet: the cluster has no such kind." in message
    assert conditions(observed(missing_kinds=MISSING))["ConfigValid"]["message"] == "The spec is valid."


def test_removed_kind_is_not_applied_during_migration() -> None:
    """During a migration no object is applied whose kind the API server no longer has."""
    before = settled(monitored())
    desired = spec(version="0.3.0", monitoring=EVERYTHING)
    migrating = observed(desired, status=migrated(), children=list(before.children.values()), missing_kinds=MISSING)
    assert {MONITOR, RULES} & set(applied(migrating)) == set()
    assert ChildId("Deployment", "quickstart-server") in applied(migrating)


def test_monitoring_objects_are_pruned_when_not_requested() -> None:
    """ServiceMonitor, rules and dashboard are deleted once the spec does not request them."""
    before = settled(monitored())
    plain = observed(spec(), status=migrated(), children=list(before.children.values()))
    assert set(plan(plain).delete) == {MONITOR, RULES, DASHBOARD}


def test_spec_labels_do_not_override_managed_labels() -> None:
    """Labels of the spec cannot override the labels by which children are selected."""
    labels = {"app.kubernetes.io/managed-by": "me", "release": "prometheus"}
    objects = applied(observed(spec(monitoring={"serviceMonitor": {"labels": labels}}), status=migrated()))
    assert objects[MONITOR]["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "somabrain-operator"
    assert objects[MONITOR]["metadata"]["labels"]["release"] == "prometheus"
