"""The API server stores valid resources with their defaults, and refuses others with a message."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.integration.operator.api import Api, Refused
from tests.integration.operator.brains import NAME, SPEC, Brain
from tests.integration.operator.chart import tool

VAULT = {"address": "https://vault.example", "role": "brain"}
X = {"path": "secret/data/brain", "key": "x", "file": "x"}
OURS = {"id": "ours", "dimensions": 8}
NOMIC = {**OURS, "url": "http://ollama:11434/v1/embeddings", "model": "nomic-embed-text"}
MCP = {"resourceUrl": "https://memory.example/mcp"}
ONE_RESOURCE = {**MCP, "sameResource": True}
EXCHANGE = {"url": "https://issuer.example/token", "secretRef": {"name": "mcp-client"}}
TLS = {"secretRef": {"name": "certificate"}}
OWNER = {**X, "file": "SOMABRAIN_OWNER_DSN"}


@pytest.fixture
def quiet(api: Api, namespace: str) -> Brain:
    """A namespace for tests that do not need the operator."""
    return Brain(api, namespace)


def test_minimal_resource_is_stored_with_defaults(quiet: Brain) -> None:
    """Fields that are not set have their defaults in the stored resource."""
    quiet.apply()
    spec = quiet.resource()["spec"]
    assert (spec["replicas"], spec["paused"], spec["migration"]["enabled"]) == (1, False, True)
    assert spec["auth"]["tenantClaim"] == "/kubernetes.io/namespace"
    assert spec["config"]["encoder"] == {
        "kind": "minilm-l6-v2-int8",
        "minilm": False,
        "threads": 1,
        "onnx": [],
        "endpoints": [],
        "client": [],
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": "a/b:c", "version": "1"}, "spec.image and spec.version are both set; keep spec.image"),
        ({"image": "Not An Image"}, "spec.image is not an image reference; write registry/repository:tag"),
        ({"opa": {"image": "x y"}}, "spec.opa.image is not an image reference"),
        ({"replicas": -1}, "spec.replicas in body should be greater than or equal to 0"),
        ({"replicas": 101}, "spec.replicas in body should be less than or equal to 100"),
        ({"migration": {}}, "spec.migration.database: name the Secret that holds owner-dsn"),
        ({"vault": {**VAULT, "secrets": [OWNER]}}, "SOMABRAIN_OWNER_DSN, and not both; or set"),
        ({"vault": {**VAULT, "secrets": [{**OWNER, "file": "SOMABRAIN_WORKER_DSN"}]}}, "and not both"),
        ({"migration": {}, "vault": {**VAULT, "enabled": False, "secrets": [OWNER]}}, "spec.migration.database: name"),
        ({"vault": {**VAULT, "address": "vault:8200", "secrets": [X]}}, "spec.vault.address is not an HTTP URL"),
        ({"vault": {**VAULT, "image": "x y", "secrets": [X]}}, "spec.vault.image is not an image reference"),
        ({"vault": {**VAULT, "secrets": []}}, "spec.vault.secrets"),
        ({"vault": {**VAULT, "secrets": [X, X]}}, "Duplicate value"),
        ({"vault": {**VAULT, "secrets": [{**X, "key": '"}}'}]}}, "spec.vault.secrets[0].key"),
        ({"vault": {**VAULT, "secrets": [{**X, "file": "../x"}]}}, "spec.vault.secrets[0].file"),
        ({"auth": {"mode": "introspection"}}, "spec.auth.introspection: set it if, and only if, spec.auth.mode is"),
        ({"auth": {"introspection": {"secretRef": {"name": "a"}}}}, "spec.auth.introspection: set it if, and only if"),
        (
            {"auth": {"mode": "introspection", "introspection": {"secretRef": {"name": "a"}, "address": "x"}}},
            "spec.auth.introspection.address is not an HTTP URL",
        ),
        ({"cache": {}}, "spec.cache: set either url or secretRef"),
        (
            {"cache": {"url": "redis://a", "secretRef": {"name": "b"}}},
            "spec.cache: set either url or secretRef",
        ),
        ({"cache": {"url": "redis://u:p@a"}}, "put a URL with a password into the Secret of spec.cache.secretRef"),
        ({"cache": {"url": "http://a"}}, "spec.cache.url must begin with redis://"),
        ({"flags": {"endpoints": []}}, "spec.flags.endpoints"),
        ({"flags": {"endpoints": ["https://a", "etcd:2379"]}}, "spec.flags.endpoints: each must be a URL"),
        ({"events": {"brokers": ["kafka"]}}, "spec.events.brokers: each must be host:port"),
        ({"events": {"brokers": ["k:1"], "topic": "a b"}}, "spec.events.topic"),
        (
            {"events": {"brokers": ["k:1"], "holdSeconds": 60, "unpublishedRetentionSeconds": 60}},
            "spec.events.holdSeconds is the former name of spec.events.unpublishedRetentionSeconds, and both are set",
        ),
        (
            {"config": {"encoder": {"endpoints": [{**NOMIC, "characters": 9, "maxInputCharacters": 9}]}}},
            "endpoints[].characters is the former name of spec.config.encoder.endpoints[].maxInputCharacters",
        ),
        (
            {"config": {"encoder": {"endpoints": [{**NOMIC, "breakerRestSeconds": 9, "breakerResetSeconds": 9}]}}},
            "endpoints[].breakerRestSeconds is the former name of spec.config.encoder.endpoints[].breakerResetSeconds",
        ),
        ({"events": {"brokers": ["k:1"], "sasl": {}}}, "spec.events.sasl.secretRef: Required value"),
        ({"opa": {"enabled": False}}, "spec.opa.url: set it if, and only if, spec.opa.enabled is false"),
        ({"opa": {"url": "https://opa"}}, "spec.opa.url: set it if, and only if, spec.opa.enabled is false"),
        ({"opa": {"enabled": False, "url": "opa"}}, "spec.opa.url is not an HTTP URL"),
        ({"grpc": {"port": 80}}, "spec.grpc.port in body should be greater than or equal to 1024"),
        ({"grpc": {"tls": {}}}, "spec.grpc.tls.secretRef: Required value"),
        ({"auth": {"issuer": "issuer"}}, "spec.auth.issuer is not an HTTP URL"),
        ({"auth": {"jwksUrl": "keys"}}, "spec.auth.jwksUrl is not an HTTP URL"),
        ({"auth": {"tenantClaim": "tenant"}}, "spec.auth.tenantClaim is not a JSON Pointer; start it with a slash"),
        ({"auth": {"scopeClaim": "scope"}}, "spec.auth.scopeClaim is not a JSON Pointer"),
        (
            {"auth": {"mode": "none"}},
            'spec.auth.mode: Unsupported value: "none": supported values: "jwt", "introspection"',
        ),
        ({"config": {"encoder": {"kind": "hash"}}}, "spec.config.encoder.kind is not the id of an encoder; write"),
        ({"config": {"encoder": {"client": [OURS, OURS]}}}, "Duplicate value"),
        ({"config": {"encoder": {"client": [OURS], "endpoints": [NOMIC]}}}, "an id is used twice, or is one of"),
        ({"config": {"encoder": {"client": [{**OURS, "id": "lexical"}]}}}, "an id is used twice, or is one of"),
        ({"config": {"encoder": {"endpoints": [{**NOMIC, "url": "ollama"}]}}}, "endpoints: a url is not an HTTP URL"),
        ({"config": {"encoder": {"onnx": [{"id": "bge", "directory": "models"}]}}}, "encoder.onnx[0].directory"),
        ({"resources": {"limits": {"memory": "lots"}}}, "spec.resources.limits.memory in body should match"),
        (
            {"database": {}},
            "spec.database: set either secretRef, whose Secret holds app-dsn and worker-dsn, or provision",
        ),
        ({"autoscaling": {"min": 3, "max": 2}}, "spec.autoscaling.min is more than spec.autoscaling.max"),
        ({"autoscaling": {}}, "spec.autoscaling.max: Required value"),
        (
            {"autoscaling": {"max": 2}, "resources": {"limits": {"memory": "1Gi"}}},
            "spec.autoscaling needs spec.resources.requests.cpu",
        ),
        ({"networkPolicy": {"clients": [{}]}}, "a peer has neither namespaceLabels nor podLabels"),
        (
            {
                "scheduling": {
                    "affinity": {
                        "podAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": [
                                {
                                    "topologyKey": "zone",
                                    "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]},
                                }
                            ]
                        }
                    }
                }
            },
            "spec.scheduling.affinity.podAffinity: Exists and DoesNotExist have no values",
        ),
        ({"database": None}, "spec.database: name the Secret that holds app-dsn and worker-dsn"),
        ({"mcp": {}}, "spec.mcp.resourceUrl: Required value"),
        ({"mcp": {**ONE_RESOURCE, "resourceUrl": "memory/mcp"}}, "spec.mcp.resourceUrl is not an HTTP URL"),
        ({"mcp": {**ONE_RESOURCE, "resourceUrl": "https://memory/mcp?x"}}, "spec.mcp.resourceUrl is not an HTTP URL"),
        (
            {"mcp": MCP},
            "spec.mcp: set either exchange, by which it gets tokens for the memory service, or sameResource",
        ),
        ({"mcp": {**ONE_RESOURCE, "exchange": EXCHANGE}}, "spec.mcp: set either exchange"),
        ({"mcp": {**MCP, "exchange": {"url": "https://issuer"}}}, "spec.mcp.exchange.secretRef: Required value"),
        ({"mcp": {**MCP, "exchange": {**EXCHANGE, "url": "issuer"}}}, "spec.mcp.exchange.url is not an HTTP URL"),
        ({"mcp": {**ONE_RESOURCE, "audience": "a"}}, "spec.mcp.audience: with sameResource it is spec.auth.audience"),
        ({"mcp": {**ONE_RESOURCE, "port": 8080}}, "spec.mcp.port: 8080 is the port of probes and metrics"),
        ({"mcp": {**ONE_RESOURCE, "replicas": 0}}, "spec.mcp.replicas in body should be greater than or equal to 1"),
        ({"mcp": {**ONE_RESOURCE, "networkPolicy": {"clients": [{}]}}}, "spec.networkPolicy: a peer has neither"),
        (
            {"mcp": {**ONE_RESOURCE, "tls": {"caSecretRef": {"name": "ca"}}}},
            "spec.mcp.tls has no effect without spec.grpc.tls",
        ),
        (
            {"grpc": {"tls": {**TLS, "clientCa": True}}, "mcp": ONE_RESOURCE},
            "spec.mcp.tls.clientSecretRef: name a Secret with a client certificate",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_contradictory_spec_is_rejected_with_field_and_remedy(
    quiet: Brain, fields: dict[str, Any], message: str
) -> None:
    """A spec that contradicts itself is refused with the field and a remedy, and nothing is stored."""
    with pytest.raises(Refused) as refused:
        quiet.apply(**fields)
    assert message in str(refused.value)
    assert quiet.api.objects("SomaBrain", quiet.namespace) == []


@pytest.mark.parametrize("name", ["1brain", "has.dot", "x" * 41])
def test_name_invalid_for_a_service_is_rejected(quiet: Brain, name: str) -> None:
    """A name that cannot be part of the name of a Service is refused."""
    manifest = {"apiVersion": "somabrain.io/v1alpha1", "kind": "SomaBrain", "metadata": {"name": name}, "spec": SPEC}
    with pytest.raises(Refused, match=r"metadata\.name becomes part of the names of Services"):
        quiet.api.create(manifest, quiet.namespace)


def kubectl(api: Api, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = [tool("kubectl"), "--kubeconfig", str(api.server.kubeconfig), *words]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)


def test_kubectl_apply_rejects_unknown_field(quiet: Brain) -> None:
    """An unknown field is refused: kubectl requests strict validation by default."""
    text = """
apiVersion: somabrain.io/v1alpha1
kind: SomaBrain
metadata: {name: quickstart}
spec:
  database: {secretRef: {name: d}}
  migration: {database: {secretRef: {name: m}}}
  autoscalling: {max: 1}
"""
    done = kubectl(quiet.api, "apply", "-n", quiet.namespace, "-f", "-", stdin=text)
    assert done.returncode != 0
    assert 'unknown field "spec.autoscalling"' in done.stderr


def test_quickstart_example_is_accepted(quiet: Brain) -> None:
    """The quickstart example is valid without changes."""
    done = kubectl(
        quiet.api,
        "apply",
        "-n",
        quiet.namespace,
        "-f",
        "examples/quickstart.yaml",
        "--dry-run=server",
        "--validate=strict",
        "--namespace=demo",
    )
    assert 'namespaces "demo" not found' in done.stderr or done.returncode == 0, done.stderr


def test_kubectl_scale_and_get_columns_work(quiet: Brain) -> None:
    """`kubectl scale` writes the replicas, `kubectl get sb` has its columns, `kubectl get all` shows it."""
    quiet.apply()
    scaled = kubectl(quiet.api, "scale", "-n", quiet.namespace, f"sb/{NAME}", "--replicas=3")
    assert (scaled.returncode, quiet.resource()["spec"]["replicas"]) == (0, 3)
    listed = kubectl(quiet.api, "get", "-n", quiet.namespace, "sb").stdout
    assert listed.split()[:7] == ["NAME", "READY", "VERSION", "REPLICAS", "MIGRATED", "STATUS", "AGE"]
    assert NAME in kubectl(quiet.api, "get", "-n", quiet.namespace, "all").stdout
