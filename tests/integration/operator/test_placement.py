"""Placement and Service settings of the example are applied, restored after edits, and removed with the spec."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.operator.api import Refused
from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.integration.operator.chart import tool
from tests.support.waiting import eventually

EXAMPLE: dict[str, Any] = yaml.safe_load(Path("examples/placement.yaml").read_text(encoding="utf-8"))["spec"]


def pod(brain: Brain) -> dict[str, Any]:
    spec: dict[str, Any] = brain.deployment()["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def placed(brain: Brain, controller_stub: ControllerStub) -> Brain:
    """The example, serving."""
    brain.apply(**EXAMPLE)
    controller_stub.serve()
    return brain


def test_placement_example_is_applied(placed: Brain) -> None:
    """The example sets Service, budget, spread, nodes, probes and pull secrets; then nothing is written again."""
    service = placed.child("Service", "grpc")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["metadata"]["annotations"]["networking.gke.io/load-balancer-type"] == "Internal"
    assert placed.child("Service", "headless")["spec"]["clusterIP"] == "None"
    budget = placed.child("PodDisruptionBudget", "server")["spec"]
    assert (budget["maxUnavailable"], budget["selector"]) == (1, placed.deployment()["spec"]["selector"])
    (spread,) = pod(placed)["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "DoNotSchedule")
    (job,) = placed.jobs()
    for spec in (pod(placed), job["spec"]["template"]["spec"]):
        assert spec["nodeSelector"] == {"somabrain.io/pool": "memories"}
        assert [each["key"] for each in spec["tolerations"]] == ["somabrain.io/pool"]
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
    (server,) = pod(placed)["containers"]
    assert (server["startupProbe"]["failureThreshold"], server["livenessProbe"]["failureThreshold"]) == (300, 6)
    time.sleep(1)
    before = placed.api.writes()
    placed.annotate("note", "looked at again")
    time.sleep(2)
    assert placed.api.writes() == before


@pytest.mark.parametrize(
    ("kind", "component", "patch"),
    [
        ("PodDisruptionBudget", "server", {"spec": {"maxUnavailable": 0}}),
        ("PodDisruptionBudget", "server", {"spec": {"unhealthyPodEvictionPolicy": "IfHealthyBudget"}}),
        ("Service", "grpc", {"spec": {"type": "ClusterIP"}}),
        ("Deployment", "server", {"spec": {"template": {"spec": {"nodeSelector": {"disk": "x"}}}}}),
        ("Deployment", "server", {"spec": {"template": {"spec": {"imagePullSecrets": [{"name": "mine"}]}}}}),
        ("Deployment", "server", {"spec": {"template": {"spec": {"tolerations": [{"operator": "Exists"}]}}}}),
    ],
)
def test_placement_edit_is_reverted(placed: Brain, kind: str, component: str, patch: dict[str, Any]) -> None:
    """An edit is reverted, also one of a field that the spec does not set."""

    def specs() -> Any:
        spec = dict(placed.child(kind, component)["spec"])
        return {**spec, "ports": [{**each, "nodePort": 0} for each in spec.get("ports", [])]}  # allocated again

    before = specs()
    placed.api.patch(kind, f"{NAME}-{component}", placed.namespace, patch)
    eventually(specs, lambda now: bool(now == before), "the edit is put back", 10)


def test_removed_placement_fields_are_removed_from_children(placed: Brain, controller_stub: ControllerStub) -> None:
    """Without their fields in the spec, budget, node selector, tolerations and load balancer are removed."""
    placed.apply(podDisruptionBudget=None, scheduling=None, service=None, topologySpread=None, probes=None)
    eventually(lambda: pod(placed), lambda spec: not {"nodeSelector", "tolerations"} & set(spec), "they are gone")
    controller_stub.roll_out()
    eventually(
        lambda: placed.api.objects("PodDisruptionBudget", placed.namespace), lambda budgets: budgets == [], "it goes"
    )
    service = placed.child("Service", "grpc")
    assert service["spec"]["type"] == "ClusterIP"
    assert "networking.gke.io/load-balancer-type" not in service["metadata"]["annotations"]
    placed.until("Ready", "True")


def budget(name: str, selector: Any) -> dict[str, Any]:
    """Return a PodDisruptionBudget."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"maxUnavailable": 1, "selector": selector},
    }


def evict(placed: Brain, name: str) -> str:
    """Return the API server's answer to an eviction of a pod, as a drain sends it."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = f"/api/v1/namespaces/{placed.namespace}/pods/{name}/eviction"
    argv = [tool("kubectl"), "--kubeconfig", str(placed.api.server.kubeconfig), "create", "--raw", path, "-f", "-"]
    answer = subprocess.run(argv, check=False, input=json.dumps(eviction), capture_output=True, text=True)
    return answer.stdout + answer.stderr


def test_conflicting_disruption_budget_is_reported_until_deleted(placed: Brain) -> None:
    """While two budgets select the pods, which blocks every eviction, Degraded names the other one."""
    assert placed.until("Degraded", "False")
    placed.api.create(budget("web", {"matchLabels": {"app": "web"}}), placed.namespace)
    placed.api.create(budget("whole-namespace", {}), placed.namespace)
    assert "more than one PodDisruptionBudget" in evict(placed, "server-0")
    time.sleep(2.5)  # a list is kept for the interval of reads of references, which is 2 s here
    placed.annotate("note", "looked at again")
    degraded = placed.until("Degraded", "True", "PodDisruptionBudget whole-namespace and by quickstart-server")
    assert (degraded["reason"], placed.conditions()["Ready"]["status"]) == ("BudgetsOverlap", "True")
    assert "web" not in degraded["message"]
    placed.api.delete("PodDisruptionBudget", "whole-namespace", placed.namespace)
    time.sleep(2.5)
    placed.annotate("note", "looked at again and again")
    placed.until("Degraded", "False")
    assert "more than one PodDisruptionBudget" not in evict(placed, "server-0")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"service": {"type": "ExternalName"}}, "spec.service.type: Unsupported value"),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "spec.podDisruptionBudget.maxUnavailable"),
        ({"topologySpread": {"maxSkew": 0}}, "spec.topologySpread.maxSkew"),
        ({"scheduling": {"tolerations": [{"effect": "NoSchedule"}]}}, "an item has no key; set the taint's key"),
        ({"scheduling": {"tolerations": [{"operator": "Exists", "value": "x"}]}}, "remove the value"),
        ({"scheduling": {"tolerations": [{"key": "a", "tolerationSeconds": 1}]}}, "needs the effect NoExecute"),
        ({"scheduling": {"nodeSelector": {"a": "x" * 64}}}, "spec.scheduling.nodeSelector.a"),
        ({"probes": {"startupSeconds": 1}}, "spec.probes.startupSeconds"),
    ],
)
def test_invalid_placement_is_rejected_by_field(brain: Brain, fields: dict[str, Any], message: str) -> None:
    """The API server refuses invalid placement by the name of the field, before anything is done."""
    with pytest.raises(Refused) as refused:
        brain.apply(**fields)
    assert message in str(refused.value)
