"""The chart grants exactly the rights that the operator uses, counted from the API server's audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from devcluster.loopback import api_server
from devcluster.loopback.kubernetes import AUDIT_POLICY
from somabrain_operator.kube.names import RETRY_MIGRATION
from tests.integration.operator.api import OPERATOR, Api, Object, api_of
from tests.integration.operator.brains import NAME, POD_ADDRESS, Brain, ControllerStub, running
from tests.integration.operator.chart import SYSTEM, account_of, namespace_of, rendered, wait_for_kind
from tests.integration.operator.examples import MONITORING, SCALING
from tests.integration.operator.process import operator
from tests.integration.operator.prometheus import install
from tests.support.waiting import eventually

READS = AUDIT_POLICY.with_name("audit-reads.yaml")
NAMESPACE = "all-of-it"


class Right(NamedTuple):
    """A verb on a resource."""

    group: str
    resource: str
    verb: str


NOT_IN_THE_LOG = {Right("somabrain.io", "somabrains/finalizers", "update")}
"""Required by an admission plugin (OwnerReferencesPermissionEnforcement) that is off in most clusters, and here."""


@pytest.fixture
def api() -> Iterator[Api]:
    """An API server whose audit log includes reads."""
    with api_server(READS) as server, api_of(server) as verbs:
        for name in (SYSTEM, NAMESPACE):
            verbs.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield verbs


def granted(manifests: list[Object]) -> set[Right]:
    """Return the rights that the roles of the chart allow."""
    return {
        Right(group, resource, verb)
        for role in manifests
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(api: Api) -> set[Right]:
    """Return the rights that the operator used. Applying a missing object also needs the right to create it."""
    rights = set()
    for line in Path(api.server.audit_log).read_text().splitlines():
        event = json.loads(line)
        target: dict[str, Any] = event.get("objectRef") or {}
        if event["user"]["username"] != OPERATOR or not target.get("resource") or "responseStatus" not in event:
            continue
        resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
        verbs = {event["verb"]} | ({"create"} if event["responseStatus"].get("code") == 201 else set())
        rights |= {Right(target.get("apiGroup", ""), resource, verb) for verb in verbs}
    return rights


def forbidden(api: Api) -> list[str]:
    """Return the operator's requests that the API server did not allow."""
    events = [json.loads(line) for line in Path(api.server.audit_log).read_text().splitlines()]
    return [
        each["requestURI"]
        for each in events
        if each["user"]["username"] == OPERATOR and each.get("responseStatus", {}).get("code") == 403
    ]


def exercise(api: Api) -> None:
    """Take one resource through everything that the operator does."""
    brain = Brain(api, NAMESPACE)
    controllers = ControllerStub(brain)
    brain.secrets()
    brain.apply()
    controllers.fail_migration("no")
    brain.until("Migrated", "False", "Attempt 1 failed")
    brain.annotate(RETRY_MIGRATION, "now")
    controllers.finish_migration(attempt=2)
    eventually(brain.jobs, lambda jobs: len(jobs) == 1, "the Job that failed is deleted")
    live = controllers.roll_out(ready=0)
    pod = controllers.pod("server-0", live["spec"]["template"])
    controllers.pod_status(pod, "Running", [running()], address=POD_ADDRESS)
    eventually(lambda: used(api), lambda rights: Right("", "events", "list") in rights, "what the kubelet said is read")
    controllers.pod_status(pod, "Running", [running()], ready=True)
    controllers.roll_out()
    brain.until("Ready", "True")
    everything = {name: SCALING[name] for name in ("autoscaling", "networkPolicy")}
    everything |= {"podDisruptionBudget": {}, "monitoring": MONITORING["monitoring"]}
    everything["mcp"] = {"resourceUrl": "https://memory.example/mcp", "sameResource": True}
    brain.apply(**everything)
    kinds = ("HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "ServiceMonitor", "PrometheusRule")
    for kind in kinds:
        eventually(partial(brain.child, kind, "server"), bool, f"a {kind}")
    for kind in ("Deployment", "Service"):
        eventually(partial(brain.child, kind, "mcp"), bool, f"the MCP server's {kind}")
    controllers.roll_out()
    for kind, component in (*((kind, "server") for kind in (*kinds, "ServiceAccount", "Deployment")),
                            ("Service", "grpc"), ("ConfigMap", "config")):  # fmt: skip
        api.patch(kind, f"{NAME}-{component}", NAMESPACE, {"metadata": {"labels": {"app.kubernetes.io/part-of": "x"}}})
        labels = partial(lambda k, c: brain.child(k, c)["metadata"]["labels"], kind, component)
        eventually(labels, lambda live: live["app.kubernetes.io/part-of"] == "somabrain", f"{kind} is put back")
    brain.apply(**dict.fromkeys(everything, None))
    for kind in kinds:
        eventually(partial(api.objects, kind, NAMESPACE), lambda objects: objects == [], f"no {kind}")
    for kind in ("Deployment", "Service"):
        named = partial(lambda k: [each["metadata"]["name"] for each in api.objects(k, NAMESPACE)], kind)
        eventually(named, lambda names: f"{NAME}-mcp" not in names, f"no {kind} of an MCP server")
    rules = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "r"},
        "data": {"a.rego": "package sb.policy"},
    }
    api.create(rules, NAMESPACE)
    brain.apply(opa={"policy": {"configMapRef": {"name": "r"}}})
    eventually(lambda: "'name': 'r'" in str(brain.deployment()), bool, "the policy is mounted")
    controllers.roll_out()
    eventually(lambda: [each["metadata"]["name"] for each in api.objects("ConfigMap", NAMESPACE)],
               lambda names: f"{NAME}-policy" not in names, "the default policy goes")  # fmt: skip


def exercise_provisioning(api: Api, *, finalizers: bool) -> None:
    """Have a database provisioned, and dropped if the operator may add finalizers."""
    brain = Brain(api, NAMESPACE)
    controllers = ControllerStub(brain)
    api.delete("SomaBrain", NAME, NAMESPACE)
    brain.collect_garbage()
    brain.secret("admin", uri="postgresql://root:an-administrator-s@pg/")
    brain.provision(**({"deletionPolicy": "Delete"} if finalizers else {}))
    controllers.complete(brain.job_named("-provision-"))
    made = partial(api.get, "Secret", f"{NAME}-database", NAMESPACE)
    eventually(made, lambda secret: "app-dsn" in secret["data"], "connection strings")
    if finalizers:
        brain.until("Provisioned", "True")
        api.delete("SomaBrain", NAME, NAMESPACE)
        eventually(lambda: brain.conditions()["Provisioned"], lambda now: "is dropping" in now["message"], "a drop")
        dropping = [job for job in brain.jobs() if "--drop" in str(job)]
        controllers.complete(dropping[0])
        eventually(lambda: api.objects("SomaBrain", NAMESPACE), lambda left: left == [], "it is gone")
        names = [each["metadata"]["name"] for each in api.objects("Secret", NAMESPACE)]
        assert f"{NAME}-database" not in names


@pytest.mark.parametrize(
    "settings",
    [
        (),
        (f"watchNamespaces={{{NAMESPACE}}}",),
        ("provision.enabled=true",),
        ("provision.enabled=true", f"watchNamespaces={{{NAMESPACE}}}"),
    ],
    ids=["cluster", "namespaced", "provisioning", "provisioning-namespaced"],
)
@pytest.mark.timeout(240)
def test_chart_grants_exactly_the_rights_used(api: Api, tmp_path: Path, settings: tuple[str, ...]) -> None:
    """Over everything that the operator does, nothing is forbidden, and no unused right is granted."""
    manifests = rendered(*settings)
    for manifest in manifests:
        api.create(manifest, namespace_of(manifest))
    wait_for_kind(api)
    install(api, tmp_path / "definitions")
    namespaced, provisions = any("watchNamespaces" in each for each in settings), "provision.enabled=true" in settings
    environment = {"SOMABRAIN_OPERATOR__NAMESPACES": f'["{NAMESPACE}"]'} if namespaced else {}
    environment |= {"SOMABRAIN_OPERATOR__PROVISION": "true"} if provisions else {}
    with operator(account_of(api, tmp_path), tmp_path / "log", **environment) as started:
        started.wait_until_started()
        exercise(api)
        if provisions:
            exercise_provisioning(api, finalizers=not namespaced)
    eventually(lambda: used(api), lambda rights: Right("coordination.k8s.io", "leases", "update") in rights, "a log")
    assert forbidden(api) == []
    assert granted(manifests) - used(api) == NOT_IN_THE_LOG
    assert used(api) - granted(manifests) == set()
