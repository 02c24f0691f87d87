"""The profile `full` of soma-infra has every component, each can be disabled, and `minimal` has PostgreSQL alone."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from devcluster.images.table import DATABASE, PLATFORM
from tests.chart.conftest import ROOT, HelmRefused, Manifest, Render
from tests.chart.restricted import pod_specs

CHART = "soma-infra"
# Each component, and the name that its Service and its workload have.
COMPONENTS = {
    "redis": "redis",
    "etcd": "etcd",
    "kafka": "kafka",
    "auth": "auth",
    "vault": "vault",
    "collector": "otel-collector",
}


@pytest.fixture(scope="module")
def full(render: Render) -> list[Manifest]:
    return render(CHART, "profile=full")


def names(manifests: list[Manifest], *kinds: str) -> set[str]:
    return {m["metadata"]["name"] for m in manifests if m["kind"] in kinds}


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (match,) = (m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name)
    return match


def pod(manifests: list[Manifest], kind: str, name: str) -> dict[str, Any]:
    (spec,) = pod_specs(named(manifests, kind, name))
    return spec


def test_full_profile_has_every_component_and_minimal_only_postgresql(render: Render, full: list[Manifest]) -> None:
    """The profile `full` has each component and its test; `minimal` has only PostgreSQL."""
    everything = {"postgresql", *COMPONENTS.values()}
    assert names(full, "Service") == names(full, "StatefulSet", "Deployment") == everything
    assert names(full, "Pod") == {f"{name}-test" for name in everything}
    assert names(render(CHART), "Service", "StatefulSet", "Deployment") == {"postgresql"}


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_can_be_disabled(render: Render, full: list[Manifest], component: str) -> None:
    """Disabling a component removes all of it and nothing else."""
    left = render(CHART, "profile=full", f"{component}.enabled=false")
    removed = names(full, "Service", "Deployment", "StatefulSet") - names(left, "Service", "Deployment", "StatefulSet")
    assert removed == {COMPONENTS[component]}
    of = re.compile(rf"(^|-){COMPONENTS[component]}(-test)?$")
    assert not [m for m in left if of.search(m["metadata"]["labels"]["app.kubernetes.io/name"])]


def test_vault_without_postgresql_has_no_database_secret(render: Render, full: list[Manifest]) -> None:
    """Without PostgreSQL, Vault does not wait for its Secret."""

    def sources(manifests: list[Manifest]) -> set[str]:
        (volume,) = (v for v in pod(manifests, "Deployment", "vault")["volumes"] if v["name"] == "kv")
        return {source["secret"]["name"] for source in volume["projected"]["sources"]}

    assert sources(full) == {"vault", "somabrain-database", "somabrain-migration"}
    assert sources(render(CHART, "profile=full", "postgresql.enabled=false")) == {"vault"}


def test_every_container_has_explicit_command(full: list[Manifest]) -> None:
    """Each container has a command, so that no image's entry point is relied upon."""
    for manifest in full:
        for spec in pod_specs(manifest):
            assert all(container["command"] for container in spec["containers"]), manifest["metadata"]["name"]


def test_devcluster_builds_every_image_of_full_profile(full: list[Manifest]) -> None:
    """The local cluster builds each image of the profile under the same name."""
    used = {c["image"] for manifest in full for spec in pod_specs(manifest) for c in spec["containers"]}
    assert used == {image.name for image in (DATABASE, *PLATFORM)}


def test_redis_password_matches_client_secret(full: list[Manifest]) -> None:
    """The Secret for clients and the configuration of Redis have the same password, and no command has it."""
    secret = named(full, "Secret", "somabrain-redis")["stringData"]
    address = urlsplit(secret["url"])
    assert (address.scheme, address.hostname, address.port) == ("redis", "redis.soma-infra.svc", 6379)
    assert len(secret["password"]) == 32
    assert address.password == secret["password"]
    assert f"requirepass {secret['password']}\n" in named(full, "Secret", "redis")["stringData"]["redis.conf"]
    assert secret["password"] not in json.dumps([m for m in full if m["kind"] != "Secret"])


def test_credentials_are_only_in_secrets(full: list[Manifest]) -> None:
    """No pod and no ConfigMap contains a root token or an administrator's password."""
    rest = json.dumps([m for m in full if m["kind"] != "Secret"])
    for secret, key in (("vault", "root-token"), ("auth", "password")):
        assert named(full, "Secret", secret)["stringData"][key] not in rest


def test_keycloak_address_matches_default_issuer(full: list[Manifest]) -> None:
    """The issuer is the default address of a SomaBrain, in the namespace soma-infra."""
    (container,) = pod(full, "Deployment", "auth")["containers"]
    assert "--hostname=http://auth.soma-infra.svc.cluster.local:8080" in container["args"]
    assert named(full, "Service", "auth")["spec"]["ports"][0]["port"] == 8080


def test_every_realm_is_imported(full: list[Manifest]) -> None:
    """Each realm file is mounted where Keycloak imports realms."""
    realms = {path.name for path in (ROOT / "helm/charts/soma-infra/files/auth/realms").glob("*.json")}
    (volume,) = (v for v in pod(full, "Deployment", "auth")["volumes"] if v["name"] == "config")
    assert {i["path"] for i in volume["configMap"]["items"]} == {"start.sh", *(f"realms/{name}" for name in realms)}
    assert realms < set(named(full, "ConfigMap", "auth")["data"])


def test_kafka_topics_become_start_script_arguments(render: Render) -> None:
    """Each topic of the values is an argument of the start script, with its partitions."""
    rendered = render(CHART, "profile=full", "kafka.topics.other=5")
    (container,) = pod(rendered, "StatefulSet", "kafka")["containers"]
    assert container["args"] == ["kafka.soma-infra.svc:9092", "other:5", "somabrain.changes:3"]


def test_only_vault_has_service_account_token(full: list[Manifest]) -> None:
    """Only Vault has a token for the API, and only for TokenReviews."""
    assert {
        m["metadata"]["name"]
        for m in full
        for spec in pod_specs(m)
        if spec.get("automountServiceAccountToken") is not False
    } == {"vault"}
    (binding,) = (m for m in full if m["kind"] == "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == "system:auth-delegator"
    assert not [m for m in full if m["kind"] in ("Role", "ClusterRole", "RoleBinding")]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("vault.secrets.database.app-dsn=mine", "database"),  # that name is PostgreSQL's
        ("vault.secrets.Example.a=b", "Example"),
        ("kafka.topics.a=0", "topics"),
        ("kafka.heap=384m", "heap"),
        ("redis.maxMemory=much", "maxMemory"),
        ("redis.port=1", "port"),
        ("etcd.runAsUser=0", "runAsUser"),
    ],
)
def test_invalid_value_is_rejected_by_name(render: Render, setting: str, expected: str) -> None:
    """An invalid value is an error that names it, before anything is installed."""
    with pytest.raises(HelmRefused, match=expected):
        render(CHART, "profile=full", setting)
