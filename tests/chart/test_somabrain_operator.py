"""The operator's chart grants exactly the required permissions, and rejects invalid values."""

from __future__ import annotations

from typing import Any

import pytest

from common.config.former_names import FORMER_NAMES
from common.config.settings import variable_names
from tests.chart.conftest import HelmRefused, Manifest, Render

CHART = "somabrain-operator"


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def environment(manifests: list[Manifest]) -> dict[str, Any]:
    (deployment,) = of_kind(manifests, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value") for each in container["env"]}


@pytest.mark.parametrize(
    ("setting", "verbs", "watch"),
    [
        ("rbac.watchReferences=true", {"get", "list", "watch"}, "true"),
        ("rbac.watchReferences=false", {"get"}, "false"),
        ("rbac.watchReferences=null", {"get"}, "false"),
        ("image.tag=0.1.0", {"get"}, None),
    ],
)
def test_secret_permissions_follow_reference_watch(
    render: Render, setting: str, verbs: set[str], watch: str | None
) -> None:
    """Setting and permission agree; no rule allows writing Secrets or a SomaBrain's spec, or has a wildcard."""
    manifests = render(CHART, setting)
    (role,) = of_kind(manifests, "ClusterRole")
    granted = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert {verb for resource, verb in granted if resource == "secrets"} == verbs
    assert environment(manifests).get("SOMABRAIN_OPERATOR__REFERENCE_WATCH") == watch
    assert {verb for resource, verb in granted if resource == "somabrains"} == {"list", "watch"}
    assert "*" not in {part for pair in granted for part in pair}


@pytest.mark.parametrize(
    ("settings", "secrets", "brains"),
    [
        (("provision.enabled=true",), {"create", "update", "delete"}, {"patch"}),
        (("provision.enabled=true", "watchNamespaces={a}"), {"create", "update"}, set()),
        (("provision.enabled=true", "image.tag=0.1.0"), set(), set()),
        (("provision.enabled=false",), set(), set()),
        (("provision=null",), set(), set()),
    ],
)
def test_provision_permissions_follow_provision_enabled(
    render: Render, settings: tuple[str, ...], secrets: set[str], brains: set[str]
) -> None:
    """Writing Secrets and finalizers is permitted by `provision.enabled` alone, and the operator's setting agrees."""
    manifests = render(CHART, *settings)
    roles = of_kind(manifests, "ClusterRole") or of_kind(manifests, "Role")[:1]
    reading = {"get", "list", "watch"}
    granted = [(each, rule["verbs"]) for role in roles for rule in role["rules"] for each in rule["resources"]]
    assert {verb for each, verbs in granted if each == "secrets" for verb in verbs} - reading == secrets
    assert {verb for each, verbs in granted if each == "somabrains" for verb in verbs} - reading == brains
    assert environment(manifests).get("SOMABRAIN_OPERATOR__PROVISION") == ("true" if secrets else None)


def test_delete_permission_covers_only_prunable_kinds(render: Render) -> None:
    """The operator may delete only prunable kinds; the rest is deleted by the garbage collector."""
    (role,) = of_kind(render(CHART), "ClusterRole")
    deletable = {resource for rule in role["rules"] if "delete" in rule["verbs"] for resource in rule["resources"]}
    assert deletable == {
        "configmaps", "deployments", "jobs", "poddisruptionbudgets", "horizontalpodautoscalers", "networkpolicies",
        "servicemonitors", "prometheusrules", "services",
    }  # fmt: skip


def test_namespaced_install_has_no_cluster_role(render: Render) -> None:
    """With watchNamespaces there is a Role in each of them, no ClusterRole, and the operator has the list."""
    manifests = render(CHART, "watchNamespaces={a,b}")
    assert not of_kind(manifests, "ClusterRole") + of_kind(manifests, "ClusterRoleBinding")
    assert [role["metadata"]["namespace"] for role in of_kind(manifests, "Role")] == ["a", "b", "soma-infra", "a"]
    assert environment(manifests)["SOMABRAIN_OPERATOR__NAMESPACES"] == '["a","b"]'


def test_rollout_starts_new_pod_before_stopping_old_one(render: Render) -> None:
    """The rollout starts the new pod before the old one stops; the Lease lets only one lead."""
    (deployment,) = of_kind(render(CHART), "Deployment")
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, rolling)


def test_disruption_budget_requires_two_replicas(render: Render) -> None:
    """There is a PodDisruptionBudget only with two replicas: with one, its node could not be drained."""
    assert of_kind(render(CHART), "PodDisruptionBudget") == []
    (budget,) = of_kind(render(CHART, "replicas=2"), "PodDisruptionBudget")
    (deployment,) = of_kind(render(CHART, "replicas=2"), "Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    assert budget["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize(
    ("settings", "namespaces"),
    [
        ((), ["soma-infra", None]),
        (("watchNamespaces={a,b}",), ["soma-infra", "a"]),
        (("watchNamespaces={soma-infra,b}",), ["soma-infra", None]),
        (("watchNamespaces={a,b}", "image.tag=0.1.0"), ["a", None]),
    ],
)
def test_lease_permissions_are_limited_to_own_lease(
    render: Render, settings: tuple[str, ...], namespaces: list[str | None]
) -> None:
    """Verbs on Leases are bound to the operator's own Lease, except for its creation.

    It is in the release's namespace; the leader holds the one of earlier images too, which know no other.
    """
    manifests = render(CHART, *settings)
    variables = environment(manifests)
    present = variables["SOMABRAIN_OPERATOR__LEASE_NAMESPACE"]
    assert [present, variables.get("SOMABRAIN_OPERATOR__FORMER_LEASE_NAMESPACE")] == namespaces
    roles = of_kind(manifests, "Role") + of_kind(manifests, "ClusterRole")
    rules = [(role, rule) for role in roles for rule in role["rules"] if rule["resources"] == ["leases"]]
    named = {verb for _, rule in rules if rule.get("resourceNames") for verb in rule["verbs"]}
    assert named == {"get", "update", "list", "watch"}
    for role, rule in rules:
        if "resourceNames" in rule:
            assert rule["resourceNames"] == [variables["SOMABRAIN_OPERATOR__LEASE_NAME"]]
        else:
            assert (role["metadata"]["namespace"] in namespaces, rule["verbs"]) == (True, ["create"])


@pytest.mark.parametrize(("setting", "path"), [("image.tag=0.2.0", "/livez"), ("image.tag=0.1.0", "/healthz")])
def test_liveness_probe_uses_livez_from_version_0_2(render: Render, setting: str, path: str) -> None:
    """Liveness is `/livez`, which images before 0.2 do not serve; readiness is `/healthz`."""
    (deployment,) = of_kind(render(CHART, setting), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    paths = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": path, "livenessProbe": path, "readinessProbe": "/healthz"}


def test_crd_installation_can_be_disabled(render: Render) -> None:
    """The CRD can be left out, as two releases cannot both own it."""
    assert len(of_kind(render(CHART), "CustomResourceDefinition")) == 1
    assert of_kind(render(CHART, "crd.install=false"), "CustomResourceDefinition") == []


def test_rbac_creation_can_be_disabled(render: Render) -> None:
    """With rbac.create=false no RBAC object is rendered."""
    manifests = render(CHART, "rbac.create=false", "rbac.issuerDiscovery=true", "serviceAccount.create=false")
    assert {each["kind"] for each in manifests} == {"CustomResourceDefinition", "Service", "Deployment", "Pod"}


def test_issuer_discovery_binding_is_optional(render: Render) -> None:
    """The issuer discovery role can be bound, for clusters without the default binding."""
    bindings = of_kind(render(CHART, "rbac.issuerDiscovery=true"), "ClusterRoleBinding")
    assert "system:service-account-issuer-discovery" in [binding["roleRef"]["name"] for binding in bindings]


def test_image_digest_takes_precedence_over_tag(render: Render) -> None:
    """An image's digest takes precedence over its tag, for operator and test."""
    digest = "sha256:" + "0" * 64
    manifests = render(CHART, f"image.digest={digest}")
    (deployment,), (pod,) = of_kind(manifests, "Deployment"), of_kind(manifests, "Pod")
    for spec in (deployment["spec"]["template"]["spec"], pod["spec"]):
        assert spec["containers"][0]["image"] == f"ghcr.io/somabrain/somabrain-operator@{digest}"


@pytest.mark.parametrize(
    "setting", ["operator.workers=0", "replicas=0", "image.pullPolicy=Sometimes", "watchNamespaces={A}", "nope=1"]
)
def test_invalid_value_is_rejected_by_name(render: Render, setting: str) -> None:
    """A misspelt or out-of-range value is an error that names it."""
    with pytest.raises(HelmRefused, match=setting.split("=", maxsplit=1)[0].rsplit(".", maxsplit=1)[-1]):
        render(CHART, setting)


def test_null_pod_security_context_sets_no_ids(render: Render) -> None:
    """With podSecurityContext=null no id is fixed, in the test's pod neither, and the rest of the profile stays."""
    manifests = render(CHART, "podSecurityContext=null")
    (deployment,), (pod,) = of_kind(manifests, "Deployment"), of_kind(manifests, "Pod")
    for spec in (deployment["spec"]["template"]["spec"], pod["spec"]):
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


@pytest.mark.parametrize(
    ("settings", "former"),
    [
        ((), False),
        (("image.tag=0.2.0-rc.1",), False),
        (("image.tag=v1.0.0",), False),
        (("image.tag=0.1.0",), True),
        (("image.tag=sha-0123456",), True),
        ((f"image.digest=sha256:{'0' * 64}",), True),
    ],
)
def test_setting_names_follow_image_version(render: Render, settings: tuple[str, ...], former: bool) -> None:
    """The operator exits on an unknown variable, so an older image gets the former names."""
    given = set(environment(render(CHART, *settings)))
    operators = {before: now for before, now in FORMER_NAMES.items() if before.startswith("SOMABRAIN_OPERATOR__")}
    assert operators
    assert given & {*operators, *operators.values()} == (set(operators) if former else set(operators.values()))
    assert given <= {*variable_names(), *operators}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("operator.stallSeconds=90", "90"), ("operator.stallSeconds=null", None), ("image.tag=0.1.0", None)],
)
def test_stall_seconds_is_rendered_only_for_supporting_images(
    render: Render, setting: str, expected: str | None
) -> None:
    """An image of 0.1 would reject the setting, and values retained from 0.1 do not have it."""
    assert environment(render(CHART, setting)).get("SOMABRAIN_OPERATOR__STALL_AFTER_S") == expected
