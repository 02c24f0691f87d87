"""The chart `sb` without the operator renders what the operator renders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import policy
from tests.chart.conftest import ROOT, Helm, HelmRefused, Manifest
from tests.golden.regenerate import manifests
from tests.unit.operator import samples

NAME = samples.KEY.name
AMOUNTS = {"requests": {"cpu": "30m", "memory": "96Mi"}, "limits": {"cpu": "1", "memory": "300Mi"}}
EXCHANGE = {"url": "https://issuer.example/token", "audience": "somabrain"}
MCP: dict[str, Any] = {
    "resourceUrl": "https://memory.example/v1/mcp",
    "replicas": 2,
    "port": 9000,
    "namespace": "notes",
    "allowedHosts": ["memory.internal:9000", "other:*"],
    "allowedOrigins": ["https://app.example"],
    "drainSeconds": 40,
    "resources": AMOUNTS,
    "service": {"type": "LoadBalancer", "annotations": {"balancer.example/internal": "true"}},
}
OPERATOR: dict[str, dict[str, Any]] = {
    "minimal": {},
    "ids of the cluster": {"podSecurityContext": {}},
    "other ids": {"podSecurityContext": {"runAsUser": 1000660000, "runAsGroup": 0, "fsGroup": 1000660000}},
    "resources of all containers": {
        "resources": AMOUNTS,
        "opa": {"resources": AMOUNTS},
        "migration": {"resources": AMOUNTS},
        "vault": {
            "address": "https://vault.example:8200",
            "role": "brain",
            "secrets": [{"path": "secret/data/owner", "key": "dsn", "file": "SOMABRAIN_OWNER_DSN"}],
            "resources": AMOUNTS,
        },
    },
    "mcp of one resource": {"mcp": {"resourceUrl": "https://memory.example/mcp", "sameResource": True}},
    "mcp asleep": {"replicas": 0, "mcp": {"resourceUrl": "https://memory.example/mcp", "sameResource": True}},
    "canonical": {
        "mcp": {
            **MCP,
            "exchange": {**EXCHANGE, "secretRef": {"name": "mcp-client"}, "caSecretRef": {"name": "issuer-ca"}},
            "tls": {"caSecretRef": {"name": "service-ca"}, "clientSecretRef": {"name": "mcp-certificate"}},
            "secretRefs": [{"name": "more-of-mcp"}],
            "configMapRefs": [{"name": "plain-of-mcp"}],
        },
        "replicas": 3,
        "config": {"logLevel": "debug", "drainSeconds": 60},
        "auth": {
            "issuer": "https://issuer.example",
            "jwksUrl": "https://issuer.example/keys",
            "tenantClaim": "/tenant",
        },
        "grpc": {"port": 8443, "tls": {"secretRef": {"name": "certificate"}, "clientCa": True}},
        "service": {"type": "LoadBalancer", "annotations": {"balancer.example/internal": "true"}},
        "secretRefs": [{"name": "more"}],
        "configMapRefs": [{"name": "plain"}],
        "opa": {"policy": {"configMapRef": {"name": "rules"}}},
        "migration": {},
        "vault": {
            "address": "https://vault.example:8200",
            "namespace": "team",
            "role": "brain",
            "caSecretRef": {"name": "vault-ca"},
            "secrets": [
                {"path": "secret/data/brain", "key": "level", "file": "SOMABRAIN_TRACE__ENDPOINT"},
                {"path": "secret/data/owner", "key": "dsn", "file": "SOMABRAIN_OWNER_DSN"},
            ],
        },
    },
}
CHART: dict[str, dict[str, Any]] = {
    "minimal": {},
    "ids of the cluster": {"podSecurityContext": None},
    "other ids": {"podSecurityContext": {"runAsUser": 1000660000, "runAsGroup": 0, "fsGroup": 1000660000}},
    "resources of all containers": {
        "resources": AMOUNTS,
        "opa": {"resources": AMOUNTS},
        "migration": {"secretName": "", "resources": AMOUNTS},
        "vault": {
            "enabled": True,
            "image": samples.RELEASE.vault_image,
            "address": "https://vault.example:8200",
            "role": "brain",
            "secrets": [{"path": "secret/data/owner", "key": "dsn", "file": "SOMABRAIN_OWNER_DSN"}],
            "resources": AMOUNTS,
        },
    },
    "mcp of one resource": {
        "mcp": {"enabled": True, "resourceUrl": "https://memory.example/mcp", "sameResource": True}
    },
    "mcp asleep": {
        "replicas": 0,
        "mcp": {"enabled": True, "resourceUrl": "https://memory.example/mcp", "sameResource": True},
    },
    "canonical": {
        "mcp": {
            **MCP,
            "enabled": True,
            "exchange": {**EXCHANGE, "secretName": "mcp-client", "caSecretName": "issuer-ca"},
            "tls": {"caSecretName": "service-ca", "clientSecretName": "mcp-certificate"},
            "secretRefs": ["more-of-mcp"],
            "configMapRefs": ["plain-of-mcp"],
        },
        "replicas": 3,
        "settings": {
            "log": {"level": "debug"},
            "grpc": {"drain_s": 60},
            "auth": {
                "issuer": "https://issuer.example",
                "jwks_url": "https://issuer.example/keys",
                "tenant_claim": "/tenant",
            },
        },
        "grpc": {"port": 8443, "tls": {"secretName": "certificate", "clientCa": True}},
        "service": {"type": "LoadBalancer", "annotations": {"balancer.example/internal": "true"}},
        "secretRefs": ["more"],
        "configMapRefs": ["plain"],
        "opa": {"policyConfigMap": "rules"},
        "migration": {"secretName": ""},
        "vault": {
            "enabled": True,
            "image": samples.RELEASE.vault_image,
            "address": "https://vault.example:8200",
            "namespace": "team",
            "role": "brain",
            "caSecretName": "vault-ca",
            "secrets": OPERATOR["canonical"]["vault"]["secrets"],
        },
    },
}
OF_THE_OPERATOR = ("somabrain.io/config-hash", "checksum/config")


@pytest.fixture(params=CHART)
def both(request: pytest.FixtureRequest, helm: Helm, tmp_path: Path) -> tuple[list[Manifest], list[Manifest]]:
    """The manifests of the operator and of the chart for the same settings."""
    values = tmp_path / "values.yaml"
    values.write_text(json.dumps(CHART[request.param]))
    text = helm(
        "template",
        NAME,
        "helm/charts/sb",
        "--namespace",
        samples.KEY.namespace,
        "--values",
        str(values),
        "--set",
        f"image.tag={samples.IMAGE.rpartition(':')[2]}",
        "--skip-tests",
    )
    ours = [manifest for manifest in yaml.safe_load_all(text) if manifest]
    return list(yaml.safe_load_all(manifests(OPERATOR[request.param]))), ours


def one(manifests: list[Manifest], kind: str, component: str) -> Manifest:
    (manifest,) = (
        each
        for each in manifests
        if each["kind"] == kind and each["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )
    return manifest


def agent(manifest: Manifest) -> object:
    """The configuration of Vault's agent, parsed."""
    annotations = manifest["spec"]["template"]["metadata"].get("annotations", {})
    return json.loads(annotations.get("somabrain.io/vault-agent", "null"))


def test_server_pod_matches_operator(both: tuple[list[Manifest], list[Manifest]]) -> None:
    """The server's pod and its rollout are those of the operator; only labels, hashes and the owner differ."""
    theirs, ours = (one(rendered, "Deployment", "server") for rendered in both)
    assert ours["spec"]["template"]["spec"] == theirs["spec"]["template"]["spec"]
    assert agent(ours) == agent(theirs)
    for field in ("strategy", "selector", "progressDeadlineSeconds", "revisionHistoryLimit", "replicas"):
        assert ours["spec"][field] == theirs["spec"][field]


def test_migration_job_matches_operator(both: tuple[list[Manifest], list[Manifest]]) -> None:
    theirs, ours = (one(rendered, "Job", "migrate") for rendered in both)
    assert ours["spec"]["template"]["spec"] == theirs["spec"]["template"]["spec"]
    assert agent(ours) == agent(theirs)
    for field in ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        assert ours["spec"][field] == theirs["spec"][field]


def test_mcp_server_matches_operator(both: tuple[list[Manifest], list[Manifest]]) -> None:
    """Pod, rollout and Service of the MCP server are those of the operator; without it neither has any."""
    for kind in ("Deployment", "Service"):
        theirs, ours = (
            [each for each in rendered if each["kind"] == kind and each["metadata"]["name"] == f"{NAME}-mcp"]
            for rendered in both
        )
        specs = [[_without_annotations(each["spec"]) for each in rendered] for rendered in (theirs, ours)]
        assert specs[0] == specs[1]


def _without_annotations(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a spec without the annotations of its pods: the chart has no hash of Secrets."""
    template = spec.get("template")
    metadata = {"labels": None} if template is None else {**template["metadata"], "labels": None, "annotations": None}
    return {**spec, "template": template and {**template, "metadata": metadata}}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"resourceUrl": ""}, "/mcp/resourceUrl"),
        ({"port": 8080}, "/mcp/port"),
        ({"sameResource": False}, "mcp: set either exchange.url"),
        ({"exchange": {"url": "https://issuer"}}, "mcp: set either exchange.url"),
        ({"sameResource": False, "exchange": {"url": "https://issuer"}}, "mcp.exchange.secretName: name a Secret"),
        ({"audience": "a"}, "mcp.audience: with sameResource"),
        ({"tls": {"caSecretName": "a"}}, "mcp.tls has no effect without grpc.tls.secretName"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_conflicting_mcp_values_are_rejected(helm: Helm, tmp_path: Path, values: dict[str, Any], named: str) -> None:
    """Conflicting values are rejected with the value and the remedy, as the operator's rules reject fields."""
    file = tmp_path / "values.yaml"
    mcp = {"enabled": True, "resourceUrl": "https://memory.example/mcp", "sameResource": True, **values}
    file.write_text(json.dumps({"mcp": mcp}))
    with pytest.raises(HelmRefused, match=named):
        helm("template", NAME, "helm/charts/sb", "--values", str(file))


def test_settings_and_services_match_operator(both: tuple[list[Manifest], list[Manifest]]) -> None:
    theirs, ours = both
    assert one(ours, "ConfigMap", "config")["data"] == one(theirs, "ConfigMap", "config")["data"]
    for component in ("grpc", "headless"):
        assert one(ours, "Service", component)["spec"] == one(theirs, "Service", component)["spec"]


def test_default_policy_matches_packaged_policy() -> None:
    """The chart's policy is a copy of the file that the operator and the tests use."""
    assert (ROOT / "helm/charts/sb/files/sb.rego").read_text() == (Path(policy.__path__[0]) / "sb.rego").read_text()


@pytest.mark.parametrize(("mode", "has_token"), [("jwt", True), ("introspection", False)])
def test_issuer_token_is_mounted_only_in_jwt_mode(helm: Helm, mode: str, has_token: bool) -> None:
    """The pod has a token for the API only when the cluster is the issuer, as with the operator."""
    text = helm("template", NAME, "helm/charts/sb", "--set", f"settings.auth.mode={mode}", "--skip-tests")
    rendered = [each for each in yaml.safe_load_all(text) if each]
    volumes = one(rendered, "Deployment", "server")["spec"]["template"]["spec"]["volumes"]
    assert ("issuer" in {volume["name"] for volume in volumes}) == has_token
    assert ("SOMABRAIN_AUTH__JWKS_TOKEN_FILE" in one(rendered, "ConfigMap", "config")["data"]) == has_token


def test_large_numbers_are_rendered_without_exponent(helm: Helm) -> None:
    """Large numbers of bytes are rendered in digits, without an exponent."""
    text = helm("template", NAME, "helm/charts/sb", "--set", "settings.replica.budget_bytes=268435456")
    (config,) = (each for each in yaml.safe_load_all(text) if each and each["metadata"]["name"] == f"{NAME}-config")
    assert config["data"]["SOMABRAIN_REPLICA__BUDGET_BYTES"] == "268435456"


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("grpc.port=80", "/grpc/port"),
        ("vault.enabled=true", "/vault/address"),
        ("settings.Log.level=info", "/settings"),
        ("replicas=-1", "/replicas"),
        ("opa.typo=1", "typo"),
    ],
)
def test_invalid_value_is_rejected_by_name(helm: Helm, setting: str, named: str) -> None:
    with pytest.raises(HelmRefused, match=named):
        helm("template", NAME, "helm/charts/sb", "--set", setting)


@pytest.mark.parametrize(
    ("values", "rendered"),
    [
        ([], {"SOMABRAIN_GRPC__SHUTDOWN_DELAY_S": "3"}),
        (["settings.grpc.drain_notice_s=7"], {"SOMABRAIN_GRPC__SHUTDOWN_DELAY_S": "7"}),
        (["settings.grpc.shutdown_delay_s=0"], {"SOMABRAIN_GRPC__SHUTDOWN_DELAY_S": "0"}),
        (
            ["settings.grpc.drain_notice_s=4", "settings.grpc.shutdown_delay_s=5"],
            {"SOMABRAIN_GRPC__SHUTDOWN_DELAY_S": "5"},
        ),
        (["image.tag=0.1.0", "settings.grpc.shutdown_delay_s=9"], {"SOMABRAIN_GRPC__DRAIN_NOTICE_S": "9"}),
        (["image.tag=latest"], {"SOMABRAIN_GRPC__DRAIN_NOTICE_S": "3"}),
    ],
)
def test_shutdown_delay_uses_setting_name_of_image(helm: Helm, values: list[str], rendered: dict[str, str]) -> None:
    """Given under either name, it is rendered once, and the pod's grace period is longer by the drain and a margin."""
    options = [word for value in values for word in ("--set", value)]
    manifests = [each for each in yaml.safe_load_all(helm("template", NAME, "helm/charts/sb", *options)) if each]
    data = one(manifests, "ConfigMap", "config")["data"]
    delays = {name: value for name, value in data.items() if name.endswith(("SHUTDOWN_DELAY_S", "DRAIN_NOTICE_S"))}
    assert delays == rendered
    (delay,) = rendered.values()
    pod = one(manifests, "Deployment", "server")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 20 + int(delay) + 10
