"""Manual edits of children are reverted, and changes by others that are allowed are preserved."""

from __future__ import annotations

from typing import Any

import pytest

from somabrain_operator.kube.objects import at
from tests.integration.operator.brains import NAME, Brain
from tests.support.waiting import eventually

POD = "/spec/template/spec"
SOURCES: dict[str, dict[str, str]] = {
    "secret": {"secretName": "x"},
    "persistentVolumeClaim": {"claimName": "x"},
    "emptyDir": {},
}
EDITS: dict[str, list[dict[str, Any]]] = {
    "the image changed": [{"op": "replace", "path": f"{POD}/containers/0/image", "value": "evil:1"}],
    "a container added": [{"op": "add", "path": f"{POD}/containers/-", "value": {"name": "x", "image": "x"}}],
    "a container put first": [{"op": "add", "path": f"{POD}/containers/0", "value": {"name": "x", "image": "x"}}],
    "an init container added": [
        {"op": "add", "path": f"{POD}/initContainers/-", "value": {"name": "x", "image": "x", "command": ["x"]}}
    ],
    "a variable added": [{"op": "add", "path": f"{POD}/containers/0/env/-", "value": {"name": "X", "value": "1"}}],
    "a variable changed": [
        {
            "op": "replace",
            "path": f"{POD}/containers/0/env/0",
            "value": {"name": "SOMABRAIN_SECRETS_DIR", "value": "/evil"},
        }
    ],
    "a variable said twice": [
        {"op": "add", "path": f"{POD}/containers/0/env/-", "value": {"name": "SOMABRAIN_SECRETS_DIR", "value": "/evil"}}
    ],
    "a secret of another mounted": [
        {"op": "replace", "path": f"{POD}/volumes/1/projected/sources/0/secret/name", "value": "evil"}
    ],
    "the container renamed": [{"op": "replace", "path": f"{POD}/containers/0/name", "value": "x"}],
    "a volume added": [{"op": "add", "path": f"{POD}/volumes/-", "value": {"name": "x", "emptyDir": {}}}],
    "a volume mounted": [
        {"op": "add", "path": f"{POD}/containers/0/volumeMounts/-", "value": {"name": "tmp", "mountPath": "/x"}}
    ],
    "the host's network taken": [{"op": "add", "path": f"{POD}/hostNetwork", "value": True}],
    "the token mounted": [{"op": "replace", "path": f"{POD}/automountServiceAccountToken", "value": True}],
    "a probe removed": [{"op": "remove", "path": f"{POD}/containers/0/readinessProbe"}],
    "a node chosen": [{"op": "add", "path": f"{POD}/nodeSelector", "value": {"disk": "x"}}],
    "more replicas": [{"op": "replace", "path": "/spec/replicas", "value": 5}],
    "a probe's handler swapped for tcpSocket": [
        {"op": "remove", "path": f"{POD}/containers/0/livenessProbe/httpGet"},
        {"op": "add", "path": f"{POD}/containers/0/livenessProbe/tcpSocket", "value": {"port": 8080}},
    ],
    "a probe's handler swapped for exec": [
        {"op": "remove", "path": f"{POD}/containers/0/startupProbe/httpGet"},
        {"op": "add", "path": f"{POD}/containers/0/startupProbe/exec", "value": {"command": ["true"]}},
    ],
    "a probe's handler swapped for grpc": [
        {"op": "remove", "path": f"{POD}/containers/0/readinessProbe/httpGet"},
        {"op": "add", "path": f"{POD}/containers/0/readinessProbe/grpc", "value": {"port": 50052}},
    ],
    "the seccomp profile of the node": [
        {
            "op": "replace",
            "path": f"{POD}/securityContext/seccompProfile",
            "value": {"type": "Localhost", "localhostProfile": "x.json"},
        },
    ],
    "a variable's value taken from a Secret": [
        {"op": "remove", "path": f"{POD}/containers/0/env/0/value"},
        {
            "op": "add",
            "path": f"{POD}/containers/0/env/0/valueFrom",
            "value": {"secretKeyRef": {"name": "x", "key": "x"}},
        },
    ],
    "the rollout's strategy changed": [{"op": "replace", "path": "/spec/strategy", "value": {"type": "Recreate"}}],
    "the DNS policy changed": [{"op": "replace", "path": f"{POD}/dnsPolicy", "value": "Default"}],
    "the scheduler changed": [{"op": "replace", "path": f"{POD}/schedulerName", "value": "x"}],
    "a probe's success threshold changed": [
        {"op": "replace", "path": f"{POD}/containers/0/readinessProbe/successThreshold", "value": 3}
    ],
    "the audience of a token added": [
        {"op": "add", "path": f"{POD}/volumes/3/projected/sources/0/serviceAccountToken/audience", "value": "evil"}
    ],
    "the volumes reordered": [{"op": "move", "from": f"{POD}/volumes/0", "path": f"{POD}/volumes/2"}],
    "the security context emptied": [{"op": "replace", "path": f"{POD}/securityContext", "value": {}}],
    "the variables emptied": [{"op": "replace", "path": f"{POD}/containers/0/env", "value": []}],
    **{
        f"the source of the volume {volume} exchanged for {source}": [
            {"op": "replace", "path": f"{POD}/volumes/{position}", "value": {"name": volume, source: SOURCES[source]}}
        ]
        for position, volume in enumerate(("tmp", "settings", "policy", "issuer"))
        for source in SOURCES
    },
    "several at once": [
        {"op": "replace", "path": f"{POD}/containers/0/image", "value": "evil:1"},
        {"op": "add", "path": f"{POD}/containers/-", "value": {"name": "x", "image": "x"}},
        {"op": "add", "path": f"{POD}/containers/0/env/-", "value": {"name": "X", "value": "1"}},
    ],
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_deployment_edit_is_reverted(served: Brain, edit: list[dict[str, Any]]) -> None:
    """An edited Deployment is restored within seconds."""
    before = served.deployment()["spec"]
    served.api.patch("Deployment", f"{NAME}-server", served.namespace, edit)
    eventually(served.deployment, lambda now: now["spec"] == before, "the edit is put back", timeout_s=10)


@pytest.mark.parametrize(
    ("kind", "component", "patch", "path"),
    [
        ("ConfigMap", "config", {"data": {"SOMABRAIN_AUTH__AUDIENCE": "everybody"}}, ("data",)),
        ("ConfigMap", "config", {"data": {"X": "1"}}, ("data",)),
        ("ConfigMap", "policy", {"data": {"sb.rego": "package sb.policy\nallow := true\n"}}, ("data",)),
        ("Service", "grpc", {"spec": {"selector": {"app.kubernetes.io/instance": "other"}}}, ("spec",)),
        ("Service", "grpc", {"spec": {"selector": {"version": "canary"}}}, ("spec",)),
        ("Service", "grpc", {"spec": {"ports": [{"name": "grpc", "port": 1}]}}, ("spec",)),
        ("Service", "grpc", {"spec": {"externalIPs": ["192.0.2.1"]}}, ("spec",)),
        ("Service", "grpc", {"spec": {"sessionAffinity": "ClientIP"}}, ("spec",)),
        ("Service", "grpc", {"spec": {"type": "NodePort"}}, ("spec",)),
        ("Service", "grpc", {"spec": {"type": "ExternalName", "externalName": "evil.test"}}, ("spec", "selector")),
        ("ConfigMap", "policy", {"binaryData": {"x.rego": "eA=="}}, ("binaryData",)),
        ("Service", "grpc", {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}}, ("metadata", "labels")),
        (
            "ConfigMap",
            "config",
            {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
            ("metadata", "labels"),
        ),
        ("ServiceAccount", "server", {"automountServiceAccountToken": True}, ("automountServiceAccountToken",)),
    ],
)
def test_edits_of_other_children_are_reverted(
    served: Brain, kind: str, component: str, patch: dict[str, Any], path: tuple[str, ...]
) -> None:
    """Edits of settings, policy, Services and the account are reverted too."""
    before = at(served.child(kind, component), *path)
    served.api.patch(kind, f"{NAME}-{component}", served.namespace, patch)
    eventually(lambda: at(served.child(kind, component), *path), lambda now: now == before, "the edit is put back", 10)


@pytest.mark.parametrize(
    "name",
    [
        "a probe's handler swapped for tcpSocket",
        "the DNS policy changed",
        "the source of the volume settings exchanged for secret",
    ],
)
def test_reverted_edit_leaves_one_event_and_no_degraded_condition(served: Brain, name: str) -> None:
    """One event describes the reverted edit, no condition is degraded, and the next edit of the resource is applied."""
    before = served.deployment()["spec"]
    served.api.patch("Deployment", f"{NAME}-server", served.namespace, EDITS[name])
    eventually(served.deployment, lambda now: now["spec"] == before, "the edit is put back", timeout_s=10)
    eventually(lambda: revert_events(served), bool, "an event")
    served.apply(replicas=2)
    eventually(served.deployment, lambda now: now["spec"]["replicas"] == 2, "the next edit is applied", timeout_s=10)
    served.until("Degraded", "False")
    assert len(revert_events(served)) == 1
    served.api.patch("Deployment", f"{NAME}-server", served.namespace, EDITS[name])
    two = {**before, "replicas": 2}
    eventually(served.deployment, lambda now: now["spec"] == two, "the same edit is put back again", timeout_s=10)


@pytest.mark.parametrize(
    "name", ["a probe's handler swapped for exec", "the source of the volume tmp exchanged for secret"]
)
def test_conflicting_field_under_own_field_manager_is_reverted(served: Brain, name: str) -> None:
    """A conflicting field under the operator's own field manager, as 0.1 left it, is reverted too."""
    before = served.deployment()["spec"]
    served.api.patch("Deployment", f"{NAME}-server", served.namespace, EDITS[name], manager="somabrain-operator")
    eventually(served.deployment, lambda now: now["spec"] == before, "the edit is put back", timeout_s=10)


def test_foreign_owner_of_unchanged_default_is_not_drift(served: Brain) -> None:
    """A default that another manager set with an equal value gains an owner: the owner is removed, nothing degraded."""
    name, before = f"{NAME}-server", served.deployment()["spec"]
    served.apply(paused=True)
    served.until("Paused", "True")
    for policy in ("Default", "ClusterFirst"):
        edit = [{"op": "replace", "path": f"{POD}/dnsPolicy", "value": policy}]
        served.api.patch("Deployment", name, served.namespace, edit)
    served.apply(paused=False)
    served.until("Paused", "False")
    served.until("Degraded", "False")
    assert served.deployment()["spec"] == before
    assert "f:dnsPolicy" not in str(served.deployment()["metadata"]["managedFields"])


def revert_events(brain: Brain) -> list[str]:
    """Return the messages of the events about reverted edits."""
    events = brain.api.objects("Event", brain.namespace)
    return [each["message"] for each in events if each["reason"] == "DriftPutBack"]


def test_revert_refusal_is_a_condition_and_no_event(served: Brain) -> None:
    """A refused revert is in the status with the API server's message, and is not taken for a conflict."""
    name = f"{NAME}-config"
    data = served.child("ConfigMap", "config")["data"]
    edit = {"data": {**data, "X": "1"}, "immutable": True}
    served.api.patch("ConfigMap", name, served.namespace, edit)
    degraded = served.until("Degraded", "True", "immutable")
    assert (degraded["reason"], revert_events(served)) == ("ApplyRefused", [])
    served.api.delete("ConfigMap", name, served.namespace)
    served.until("Degraded", "False")
    assert served.child("ConfigMap", "config")["data"] == data


def test_drift_is_reverted_by_a_single_patch(served: Brain) -> None:
    """Drift is reverted by a single patch, and the status is written only when its text changes."""
    before = len(served.api.writes())
    served.api.patch("Deployment", f"{NAME}-server", served.namespace, EDITS["a container added"])
    eventually(served.containers, lambda containers: len(containers) == 1, "the container is removed")
    deployments = [write for write in served.api.writes()[before:] if "deployments" in write]
    assert deployments == [f"patch deployments {NAME}-server"]


def test_reverted_drift_is_an_event_of_the_resource(served: Brain) -> None:
    """Reverted drift is an event of the resource, which `kubectl describe sb` shows."""
    served.api.patch("Deployment", f"{NAME}-server", served.namespace, EDITS["the image changed"])
    (event,) = eventually(
        lambda: [each for each in served.api.objects("Event", served.namespace) if each["reason"] == "DriftPutBack"],
        bool,
        "an event",
    )
    assert event["involvedObject"]["uid"] == served.resource()["metadata"]["uid"], event
    message = f"Deployment {NAME}-server is put back: spec.template.spec.containers[0].image is changed."
    assert event["message"] == message


def test_foreign_annotations_labels_and_restarts_are_preserved(served: Brain) -> None:
    """Annotations and labels of others, and a restart by kubectl, are preserved."""
    note = {"metadata": {"annotations": {"note": "mine"}, "labels": {"team": "a"}}}
    restart = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}
    served.api.patch("Deployment", f"{NAME}-server", served.namespace, {**note, **restart})
    served.api.patch("Deployment", f"{NAME}-server", served.namespace, EDITS["the image changed"])
    eventually(served.containers, lambda containers: "server evil:1" not in containers, "the image is put back")
    live = served.deployment()
    assert live["metadata"]["annotations"]["note"] == "mine"
    assert live["metadata"]["labels"]["team"] == "a"
    assert "kubectl.kubernetes.io/restartedAt" in live["spec"]["template"]["metadata"]["annotations"]
