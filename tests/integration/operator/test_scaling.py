"""Autoscaling takes over `replicas` without losing a pod; a NetworkPolicy restricts connections."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.integration.operator.api import Object
from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.integration.operator.examples import SCALING
from tests.support.waiting import eventually


@pytest.fixture
def scaled(brain: Brain, controller_stub: ControllerStub) -> Brain:
    """The example, serving."""
    brain.apply(**SCALING)
    controller_stub.serve()
    return brain


def replicas_owners(brain: Brain) -> list[str]:
    """Return the field managers of `replicas` of the Deployment."""
    fields = brain.deployment()["metadata"]["managedFields"]
    return [each["manager"] for each in fields if "f:replicas" in each.get("fieldsV1", {}).get("f:spec", {})]


def test_scaling_example_is_applied(scaled: Brain) -> None:
    """The example sets autoscaler, NetworkPolicy and affinity; then nothing is written again."""
    autoscaler = scaled.child("HorizontalPodAutoscaler", "server")["spec"]
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (2, 6)
    assert autoscaler["scaleTargetRef"]["name"] == f"{NAME}-server"
    (metric,) = autoscaler["metrics"]
    assert metric["containerResource"]["target"]["averageUtilization"] == 70
    policy = scaled.child("NetworkPolicy", "server")["spec"]
    grpc, http = policy["ingress"]
    assert [each["namespaceSelector"]["matchLabels"]["team"] for each in grpc["from"]] == ["research", "support"]
    assert http["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert policy["podSelector"] == {"matchLabels": scaled.deployment()["spec"]["selector"]["matchLabels"]}
    pod = scaled.deployment()["spec"]["template"]["spec"]
    assert "podAntiAffinity" in pod["affinity"]
    assert scaled.deployment()["spec"]["replicas"] == 2
    time.sleep(1)
    before = scaled.api.writes()
    scaled.annotate("note", "looked at again")
    time.sleep(2)
    assert scaled.api.writes() == before


def test_replica_ownership_passes_to_autoscaler_without_losing_pods(
    brain: Brain, controller_stub: ControllerStub
) -> None:
    """Three pods stay three until the autoscaler has scaled, which then owns the field `replicas`."""
    brain.apply(replicas=3)
    controller_stub.serve()
    replicas: list[int] = []

    def read_autoscaler() -> Object:
        replicas.append(brain.deployment()["spec"]["replicas"])
        return brain.child("HorizontalPodAutoscaler", "server")

    brain.apply(autoscaling={"min": 2, "max": 6})
    eventually(read_autoscaler, bool, "an autoscaler")
    time.sleep(1)
    read_autoscaler()
    assert "somabrain-operator" in replicas_owners(brain)
    controller_stub.scale(5)
    eventually(
        lambda: replicas_owners(brain), lambda owners: owners == ["kube-controller-manager"], "it is handed over"
    )
    read_autoscaler()
    assert set(replicas) == {3, 5}
    controller_stub.scale(4)
    eventually(
        lambda: controller_stub.roll_out() and brain.conditions()["Ready"],
        lambda it: "4 of 4" in it["message"],
        "Ready",
    )
    assert brain.deployment()["spec"]["replicas"] == 4
    assert "DriftPutBack" not in {each["reason"] for each in brain.api.objects("Event", brain.namespace)}


def test_replica_ownership_returns_when_autoscaling_is_removed(scaled: Brain, controller_stub: ControllerStub) -> None:
    """Without autoscaling the autoscaler is deleted, and spec.replicas decides again."""
    controller_stub.scale(6)
    scaled.apply(autoscaling=None, replicas=1)
    eventually(lambda: scaled.deployment()["spec"]["replicas"], lambda number: number == 1, "1 replica")
    eventually(
        lambda: scaled.api.objects("HorizontalPodAutoscaler", scaled.namespace),
        lambda autoscalers: autoscalers == [],
        "it goes",
    )


def test_autoscaled_deployment_at_zero_returns_to_minimum(scaled: Brain, controller_stub: ControllerStub) -> None:
    """A Deployment manually scaled to 0, from which it would never scale again, is reset to the minimum."""
    controller_stub.scale(0)
    eventually(lambda: scaled.deployment()["spec"]["replicas"], lambda number: number == 2, "2 replicas")


def test_autoscaler_without_metrics_is_reported_in_degraded(scaled: Brain) -> None:
    """An autoscaler without metrics is reported with its controller's message until it has them; Ready stays True."""

    def autoscaler_status(status: str, message: str) -> Object:
        condition = {
            "type": "ScalingActive",
            "status": status,
            "reason": "Told",
            "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        return {"currentReplicas": 2, "desiredReplicas": 2, "conditions": [condition]}

    def set_status(status: Object) -> None:
        scaled.api.status("HorizontalPodAutoscaler", f"{NAME}-server", scaled.namespace, status)

    set_status(autoscaler_status("False", "unable to get metrics for resource cpu"))
    scaled.until("Degraded", "True", "does not scale: unable to get metrics for resource cpu")
    scaled.until("Ready", "True")
    set_status(autoscaler_status("True", ""))
    scaled.until("Degraded", "False")


def test_ineffective_kubectl_scale_is_reported_in_status(scaled: Brain) -> None:
    """The status says that autoscaling decides and spec.replicas, which `kubectl scale` sets, is not used."""
    scaled.until("ConfigValid", "True", "2 to 6, is decided by spec.autoscaling; spec.replicas is not used")


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("HorizontalPodAutoscaler", {"spec": {"maxReplicas": 100}}),
        ("HorizontalPodAutoscaler", {"spec": {"scaleTargetRef": {"name": "other"}}}),
        ("NetworkPolicy", {"spec": {"ingress": [{}]}}),
        ("NetworkPolicy", {"spec": {"podSelector": {"matchLabels": {"app": "other"}}}}),
        ("NetworkPolicy", {"spec": {"policyTypes": ["Ingress", "Egress"], "egress": [{}]}}),
    ],
)
def test_autoscaler_and_network_policy_edits_are_reverted(scaled: Brain, kind: str, patch: dict[str, Any]) -> None:
    """Edits of the autoscaler and of the NetworkPolicy are reverted."""
    before = scaled.child(kind, "server")["spec"]
    scaled.api.patch(kind, f"{NAME}-server", scaled.namespace, patch)
    eventually(lambda: scaled.child(kind, "server")["spec"], lambda now: bool(now == before), "it is put back", 10)


def test_network_policy_is_deleted_with_its_field(scaled: Brain) -> None:
    """The NetworkPolicy is deleted when its field is removed."""
    scaled.apply(networkPolicy=None)
    eventually(
        lambda: scaled.api.objects("NetworkPolicy", scaled.namespace), lambda policies: policies == [], "it goes"
    )
