"""Secrets reach the pods as files, from Kubernetes or Vault; changed settings roll the pods, certificates do not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.operator.api import Object
from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.support.waiting import eventually

SETTINGS: list[Object] = list(yaml.safe_load_all(Path("examples/settings.yaml").read_text(encoding="utf-8")))
VAULT: Object = yaml.safe_load(Path("examples/vault.yaml").read_text(encoding="utf-8"))["spec"]
ENCODERS: list[Object] = list(yaml.safe_load_all(Path("examples/encoders.yaml").read_text(encoding="utf-8")))
PLATFORM: Object = yaml.safe_load(Path("examples/platform.yaml").read_text(encoding="utf-8"))["spec"]
CERTIFICATE = {"tls.crt": "certificate", "tls.key": "key"}


def template(brain: Brain) -> Any:
    return brain.deployment()["spec"]["template"]


def files(pod: Any) -> set[str]:
    """Return the files and Secrets that the pod's volume of settings is made of."""
    (volume,) = (each["projected"]["sources"] for each in pod["spec"]["volumes"] if each["name"] == "settings")
    names = [
        item["path"] if "items" in source else source["name"]
        for each in volume
        for source in each.values()
        for item in source.get("items", [{}])
    ]
    return set(names)


@pytest.fixture
def settings(brain: Brain, controller_stub: ControllerStub) -> Brain:
    """The example with TLS and settings, serving."""
    brain.secret("quickstart-certificate", **CERTIFICATE)
    *objects, resource = SETTINGS
    for each in objects:
        metadata = {"name": each["metadata"]["name"]}
        brain.api.create({**each, "metadata": metadata}, brain.namespace)
    brain.apply(**resource["spec"])
    controller_stub.serve()
    return brain


def test_settings_example_is_applied(settings: Brain) -> None:
    """The example mounts settings as files, serves TLS on another port, and then nothing is written again."""
    assert files(template(settings)) == {"SOMABRAIN_POSTGRES_DSN", "SOMABRAIN_WORKER_DSN", "quickstart-settings"}
    (job,) = settings.jobs()
    assert files(job["spec"]["template"]) == {"SOMABRAIN_OWNER_DSN", "quickstart-settings"}
    assert settings.child("Service", "grpc")["spec"]["ports"][0]["port"] == 8443
    assert settings.child("ConfigMap", "config")["data"]["SOMABRAIN_GRPC__TLS__CERT_FILE"].endswith("tls/tls.crt")
    assert settings.resource()["status"]["endpoint"].endswith(".svc:8443")
    time.sleep(1)
    before = settings.api.writes()
    settings.annotate("note", "looked at again")
    time.sleep(2)
    assert settings.api.writes() == before


def test_renewed_certificate_rolls_no_pods(settings: Brain) -> None:
    """A renewed certificate rolls no pod: the servers reload it from disk."""
    before = template(settings)
    settings.rotate("quickstart-certificate", **{"tls.crt": "renewed", "tls.key": "renewed"})
    time.sleep(4)
    assert template(settings) == before


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_changed_setting_rolls_pods(settings: Brain, kind: str) -> None:
    """A changed or new key of the settings rolls the pods."""
    before = template(settings)
    if kind == "Secret":
        settings.rotate("quickstart-settings", SOMABRAIN_LOG__FORMAT="console")
    else:
        settings.api.patch(
            kind, "quickstart-settings", settings.namespace, {"data": {"SOMABRAIN_TRACE__SAMPLE_RATIO": "1"}}
        )
    eventually(lambda: template(settings), lambda now: bool(now != before), "the template changed")


def test_changed_policy_data_rolls_pods(settings: Brain) -> None:
    """Changed data, which OPA reads as it starts, rolls the pods; a key that OPA does not read does not."""

    def set_data(key: str, text: str) -> None:
        settings.api.patch("ConfigMap", "quickstart-rules", settings.namespace, {"data": {key: text}})

    before = template(settings)
    set_data("README.md", "Whom we let in.")
    time.sleep(4)
    assert template(settings) == before
    set_data("closed.json", '{"team": {"closed": []}}')
    eventually(lambda: template(settings), lambda now: bool(now != before), "the template changed")


def test_policy_without_rules_is_reported_and_pods_stay(settings: Brain) -> None:
    """A policy without rules is reported with the missing key, and the running pods stay."""
    before = template(settings)
    settings.api.patch("ConfigMap", "quickstart-rules", settings.namespace, {"data": {"rules.rego": None}})
    settings.until("ReferencesResolved", "False", "quickstart-rules, named by spec.opa.policy.configMapRef.name, lacks")
    assert template(settings) == before


def test_managed_setting_override_is_reported_and_pods_stay(settings: Brain) -> None:
    """A setting that the resource manages itself is reported in the status, and the running pods stay."""
    before = template(settings)
    settings.rotate("quickstart-settings", SOMABRAIN_LOG__LEVEL="debug")
    condition = settings.until("ReferencesResolved", "False", "has the key SOMABRAIN_LOG__LEVEL, which is set by")
    assert condition["reason"] == "SettingTaken"
    assert template(settings) == before
    assert settings.until("Available", "True")


@pytest.fixture
def vaulted(brain: Brain, controller_stub: ControllerStub) -> Brain:
    """The example with Vault, serving without any Secret of Kubernetes."""
    for name in ("somabrain-database", "somabrain-migration"):
        brain.api.delete("Secret", name, brain.namespace)
    brain.apply(**{"database": None, "migration": {}, **VAULT})
    controller_stub.serve()
    return brain


def agent_files(pod: Any) -> list[str]:
    """Return the files that Vault's agent writes for a pod."""
    agent = json.loads(pod["metadata"]["annotations"]["somabrain.io/vault-agent"])
    return [each["destination"].rpartition("/")[2] for each in agent["template"]]


def test_vault_example_is_applied(vaulted: Brain) -> None:
    """The servers and the migration each have a Vault agent with their own connection strings."""
    (job,) = vaulted.jobs()
    assert agent_files(template(vaulted)) == ["SOMABRAIN_POSTGRES_DSN", "SOMABRAIN_WORKER_DSN"]
    assert agent_files(job["spec"]["template"]) == ["SOMABRAIN_OWNER_DSN"]
    assert vaulted.until("ReferencesResolved", "True")["message"] == "The spec names no Secret and no ConfigMap."
    time.sleep(1)
    before = vaulted.api.writes()
    vaulted.annotate("note", "looked at again")
    time.sleep(2)
    assert vaulted.api.writes() == before


def test_new_vault_version_migrates_then_rolls_pods(vaulted: Brain, controller_stub: ControllerStub) -> None:
    """Another version of the secrets runs the migration Job first, and then rolls the pods."""
    before = template(vaulted)
    name = vaulted.job()["metadata"]["name"]
    vaulted.apply(vault={**VAULT["vault"], "version": "2"})
    (job,) = eventually(
        vaulted.jobs, lambda jobs: [each["metadata"]["name"] != name for each in jobs] == [True], "another Job alone"
    )
    assert template(vaulted) == before
    controller_stub.complete(job)
    eventually(lambda: template(vaulted), lambda now: bool(now != before), "the template changed")


def test_failing_vault_path_is_reported_and_old_pods_stay(vaulted: Brain, controller_stub: ControllerStub) -> None:
    """A failing path is in the status with the agent's last message, and the running pods stay."""
    broken = [{**each, "path": "secret/data/typo"} for each in VAULT["vault"]["secrets"][:2]]
    vaulted.apply(vault={**VAULT["vault"], "secrets": [*broken, VAULT["vault"]["secrets"][2]]})
    live = eventually(
        lambda: template(vaulted), lambda now: "typo" in json.dumps(now), "the agent is told the new path"
    )
    pod = controller_stub.pod("server-1", live)
    controller_stub.rolling(ready=1)
    controller_stub.init_failed(pod, "vault", "no secret exists at secret/data/typo")
    vaulted.until("Degraded", "True", "no secret exists at secret/data/typo")
    vaulted.until("Available", "True")


def test_external_policy_has_no_sidecar_or_configmap(brain: Brain, controller_stub: ControllerStub) -> None:
    """With an external policy service there is no side-car and no ConfigMap of rules."""
    brain.apply(opa={"enabled": False, "url": "https://opa.example/v1/data/sb/policy"})
    controller_stub.serve()
    assert "initContainers" not in template(brain)["spec"]
    assert brain.child("ConfigMap", "config")["data"]["SOMABRAIN_POLICY__URL"].startswith("https://opa.example")
    assert f"{NAME}-policy" not in [
        each["metadata"]["name"] for each in brain.api.objects("ConfigMap", brain.namespace)
    ]


def test_platform_example_mounts_referenced_secrets(brain: Brain, controller_stub: ControllerStub) -> None:
    """The status names each Secret that identity, cache, flags and events need; its keys reach the pods as files."""
    brain.apply(**PLATFORM)
    condition = brain.until("ReferencesResolved", "False")
    for name, field, keys in (
        ("identity-client", "spec.auth.introspection.secretRef", "client-id, client-secret"),
        ("identity-ca", "spec.auth.introspection.caSecretRef", "ca.crt"),
        ("redis-url", "spec.cache.secretRef", "url"),
        ("etcd-login", "spec.flags.secretRef", "username, password"),
        ("kafka-login", "spec.events.sasl.secretRef", "username, password"),
    ):
        expected = (
            f"Secret {name}, named by {field}.name, is not in namespace {brain.namespace}; create it with {keys},"
        )
        assert expected in condition["message"]
        brain.secret(name, **dict.fromkeys(keys.split(", "), "some-secret"))
    for name in ("etcd-ca", "kafka-ca"):
        brain.secret(name, **{"ca.crt": "certificate"})
    brain.annotate("note", "look now")
    controller_stub.serve()
    assert {
        "SOMABRAIN_AUTH__INTROSPECTION__CLIENT_SECRET",
        "SOMABRAIN_FLAGS__PASSWORD",
        "SOMABRAIN_EVENTS__SASL_PASSWORD",
        "flags-ca.crt",
        "events-ca.crt",
    } <= files(template(brain))
    data = brain.child("ConfigMap", "config")["data"]
    assert data["SOMABRAIN_EVENTS__SECURITY_PROTOCOL"] == "SASL_SSL"
    before = template(brain)
    brain.rotate("kafka-login", password="another-secret")
    eventually(lambda: template(brain), lambda now: bool(now != before), "the template changed")


def test_encoders_example_is_applied(brain: Brain, controller_stub: ControllerStub) -> None:
    """Every kind of encoder is configured; an endpoint's key is awaited, is a file, and its change rolls no pod."""
    secret, resource = ENCODERS
    brain.apply(**resource["spec"])
    expected = "Secret embeddings, named by spec.config.encoder.endpoints[0].secretRef.name, is not in namespace"
    brain.until("ReferencesResolved", "False", expected)
    brain.secret("embeddings", **secret["stringData"])
    brain.annotate("note", "look now")
    controller_stub.serve()
    assert "encoder-nomic-key" in files(template(brain))
    data = brain.child("ConfigMap", "config")["data"]
    assert (data["SOMABRAIN_ENCODER__KIND"], data["SOMABRAIN_ENCODER__MINILM"]) == ("nomic", "true")
    (endpoint,) = json.loads(data["SOMABRAIN_ENCODER__ENDPOINTS"])
    assert (endpoint["id"], endpoint["api_key_file"]) == ("nomic", "/etc/somabrain/settings/encoder-nomic-key")
    assert json.loads(data["SOMABRAIN_ENCODER__ONNX"])[0]["directory"] == "/models/bge-small"
    assert json.loads(data["SOMABRAIN_ENCODER__CLIENT"]) == [{"id": "ours", "dimensions": 1024}]
    assert "replace-me" not in json.dumps([data, template(brain), brain.resource()["status"]])
    before = template(brain)
    brain.rotate("embeddings", **{"api-key": "another"})
    time.sleep(4)
    assert template(brain) == before
