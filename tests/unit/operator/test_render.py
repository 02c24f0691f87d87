"""Rendered manifests are pinned by tests/golden, and have properties that no golden file can state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.config.settings import Settings, load
from somabrain_operator.kube.names import labels
from somabrain_operator.render.setting_names import present_name
from tests.golden.regenerate import CASES, FOLDER, manifests

SOURCE = "/somabrain/demo/quickstart"


@pytest.mark.parametrize("name", CASES)
def test_manifests_match_golden_file(name: str) -> None:
    """Rendered manifests equal the golden file; `.venv/bin/python tests/golden/regenerate.py` writes it."""
    assert manifests(CASES[name]) == (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def rendered(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(manifests(CASES[name])))


def pods(name: str) -> list[dict[str, Any]]:
    return [each["spec"]["template"] for each in rendered(name) if each["kind"] in ("Deployment", "Job")]


@pytest.mark.parametrize("name", CASES)
def test_every_container_meets_restricted_profile(name: str) -> None:
    """No root, no capability, no escalation, the default seccomp profile, a read-only root file system."""
    for pod in (template["spec"] for template in pods(name)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def container_settings(name: str, template: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of a pod's container, as read from its variables and its mounted files."""
    (container,) = template["spec"]["containers"]
    configs = {each["metadata"]["name"]: each["data"] for each in rendered(name) if each["kind"] == "ConfigMap"}
    variables = {each["name"]: each["value"] for each in container["env"]}
    for source in container.get("envFrom", ()):
        variables |= configs[source["configMapRef"]["name"]]
    folders = []
    for number, path in enumerate(variables["SOMABRAIN_SECRETS_DIR"].split(":")):
        folders.append(folder / str(number))
        folders[-1].mkdir()
        for file in mounted(template, path):
            (folders[-1] / file).write_text("x")
    variables["SOMABRAIN_SECRETS_DIR"] = ":".join(map(str, folders))
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    return load()


def mounted(template: Any, path: str) -> list[str]:
    """Return the files that a pod finds in a folder of settings."""
    if path != "/etc/somabrain/settings":
        agent = json.loads(template["metadata"]["annotations"]["somabrain.io/vault-agent"])
        written: list[str] = [each["destination"] for each in agent["template"]]
        assert all(each.startswith(f"{path}/") for each in written)
        return [each.removeprefix(f"{path}/") for each in written if not each.endswith("__ENDPOINT")]
    (volume,) = (each for each in template["spec"]["volumes"] if each["name"] == "settings")
    sources = volume["projected"]["sources"]
    return [item["path"] for source in sources for item in source.get("secret", {}).get("items", ())]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("component", ["server", "migrate"])
def test_rendered_settings_are_valid(
    name: str, component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rendered variable and file is a valid setting; otherwise no pod would start."""
    settings = container_settings(name, pod_of(name, component), tmp_path, monkeypatch)
    assert (settings.owner_dsn is None) == (component == "server")
    assert (settings.postgres_dsn is None) == (settings.worker_dsn is None) == (component == "migrate")


@pytest.mark.parametrize(
    ("name", "audience"), [("mcp", "https://memory.example/v1/mcp"), ("mcp-one-resource", "somabrain")]
)
def test_mcp_server_has_own_audience_and_no_dsn(
    name: str, audience: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The MCP server accepts tokens of the service's issuer for its own audience, and cannot reach the database."""
    settings = container_settings(name, pod_of(name, "mcp"), tmp_path, monkeypatch)
    (config,) = (each["data"] for each in rendered(name) if each["metadata"]["name"] == "quickstart-config")
    assert settings.auth.audience == audience
    assert settings.auth.issuer == config["SOMABRAIN_AUTH__ISSUER"]
    assert (settings.postgres_dsn, settings.worker_dsn, settings.owner_dsn) == (None, None, None)
    assert (settings.mcp.exchange.url is None) == settings.mcp.same_resource == (name == "mcp-one-resource")


def test_mcp_client_settings_match_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, TLS and credentials of the MCP server are those that the servers and the token endpoint require."""
    mcp = container_settings("mcp", pod_of("mcp", "mcp"), tmp_path, monkeypatch).mcp
    assert (mcp.address, mcp.tls) == ("dns:///quickstart-headless.demo.svc:50052", True)
    files = {str(mcp.ca_file), str(mcp.cert_file), str(mcp.key_file), str(mcp.exchange.ca_file)}
    folder = "/etc/somabrain/settings"
    assert {each.removeprefix(f"{folder}/") for each in files} <= set(mounted(pod_of("mcp", "mcp"), folder))
    assert mcp.exchange.client_secret is not None
    assert (mcp.exchange.client_id, mcp.exchange.client_secret.get_secret_value()) == ("x", "x")
    assert "quickstart-mcp.demo.svc:*" in mcp.allowed_hosts


@pytest.mark.parametrize("name", ["mcp", "mcp-one-resource"])
def test_network_policy_allows_only_required_mcp_traffic(name: str) -> None:
    """The MCP pods may connect to the servers, DNS and the identity service alone, and the servers admit them."""
    policies = {each["metadata"]["name"]: each["spec"] for each in rendered(name) if each["kind"] == "NetworkPolicy"}
    own = {"podSelector": {"matchLabels": pod_selector(name, "mcp")}}
    servers, dns, identity = policies["quickstart-mcp"]["egress"]
    assert servers["to"] == [{"podSelector": {"matchLabels": pod_selector(name, "server")}}]
    assert [each["port"] for each in servers["ports"]] == [50052]
    assert {(each["port"], each["protocol"]) for each in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    ports = {"mcp": [4317, 8443, 9080], "mcp-one-resource": [443]}[name]
    assert [each["port"] for each in identity["ports"]] == ports
    if name == "mcp":
        clients, _ = policies["quickstart-server"]["ingress"]
        assert clients["from"] == [{"podSelector": {"matchLabels": {"role": "agent"}}}, own]


@pytest.mark.parametrize("name", ["mcp", "mcp-one-resource"])
def test_servers_expose_no_mcp_port(name: str) -> None:
    """The servers' container has the ports of gRPC and of probes, and the MCP server is a container of another pod."""
    (container,) = pod_of(name, "server")["spec"]["containers"]
    assert [each["name"] for each in container["ports"]] == ["grpc", "http"]
    (mcp,) = pod_of(name, "mcp")["spec"]["containers"]
    assert mcp["image"] == container["image"]
    assert (mcp["command"], "args" in mcp) == (["somabrain", "mcp", "--http"], False)
    grace_s = pod_of(name, "mcp")["spec"]["terminationGracePeriodSeconds"]
    variables = {each["name"]: each["value"] for each in mcp["env"]}
    assert grace_s > float(variables["SOMABRAIN_MCP__DRAIN_S"]) + float(variables["SOMABRAIN_MCP__SHUTDOWN_DELAY_S"])


def test_spec_fields_become_service_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields of the spec become the settings of the service."""
    settings = container_settings("everything", server("everything"), tmp_path, monkeypatch)
    assert (settings.auth.scope_claim, settings.encoder.kind, settings.grpc.drain_s) == ("/scope", "lexical", 60.0)
    assert (settings.auth.jwks_url, settings.auth.jwks_token_file) == ("https://issuer.example/keys", None)
    assert (settings.grpc.port, str(settings.grpc.tls.client_ca_file)) == (
        8443,
        "/var/run/secrets/somabrain/tls/ca.crt",
    )
    assert settings.quota.replicas == 6
    assert settings.flags.endpoints == ("https://etcd-0:2379", "https://etcd-1:2379")
    assert (settings.flags.prefix, settings.flags.username) == ("/team/flags", "x")
    assert str(settings.flags.cert_file) == "/etc/somabrain/settings/flags-tls.crt"
    assert settings.cache.url is not None
    assert (settings.cache.ttl_s, str(settings.cache.ca_file)) == (60, "/etc/somabrain/settings/cache-ca.crt")
    events = settings.events
    assert (events.security_protocol, events.topic, events.source) == ("SASL_SSL", "team.changes", SOURCE)
    assert str(events.ca_file) == "/etc/somabrain/settings/events-ca.crt"


def test_encoders_become_service_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders become settings, with the path of an endpoint's key and never the key itself."""
    encoder = container_settings("everything", server("everything"), tmp_path, monkeypatch).encoder
    assert encoder.offers_minilm
    (onnx,), (endpoint,), (client,) = encoder.onnx, encoder.endpoints, encoder.client
    assert (onnx.id, str(onnx.directory), onnx.pooling) == ("bge", "/models/bge", "cls")
    assert (endpoint.id, endpoint.model, endpoint.dimensions) == ("nomic", "nomic-embed-text", 768)
    assert (endpoint.timeout_s, endpoint.api_key) == (3.0, None)
    assert str(endpoint.api_key_file) == "/etc/somabrain/settings/encoder-nomic-key"
    assert "encoder-nomic-key" in mounted(server("everything"), "/etc/somabrain/settings")
    assert (client.id, client.dimensions) == ("ours", 1024)


def test_introspection_becomes_service_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, credentials and CA of the introspection endpoint become settings."""
    auth = container_settings("vault", server("vault"), tmp_path, monkeypatch).auth
    assert (auth.mode, auth.introspection.address, auth.introspection.client_id) == (
        "introspection",
        "https://auth.example",
        "x",
    )
    assert str(auth.introspection.ca_file) == "/etc/somabrain/settings/auth-ca.crt"
    assert auth.jwks_token_file is None


def pod_of(name: str, component: str) -> Any:
    """Return the pod template of a component."""
    (match,) = (
        each["spec"]["template"]
        for each in rendered(name)
        if each["kind"] in ("Deployment", "Job")
        and each["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )
    return match


def pod_selector(name: str, component: str) -> Any:
    """Return the labels by which a Deployment selects its pods."""
    labelled = pod_of(name, component)["metadata"]["labels"]
    return {
        f"app.kubernetes.io/{part}": labelled[f"app.kubernetes.io/{part}"] for part in ("name", "instance", "component")
    }


def server(name: str) -> Any:
    return pod_of(name, "server")


def job(name: str) -> Any:
    return pod_of(name, "migrate")


def tokens(template: Any) -> list[str | None]:
    """Return the audiences of a pod's service account tokens; None is the API server's own."""
    sources = [
        each for volume in template["spec"]["volumes"] for each in volume.get("projected", {}).get("sources", ())
    ]
    return [each["serviceAccountToken"].get("audience") for each in sources if "serviceAccountToken" in each]


@pytest.mark.parametrize(
    ("name", "audiences"), [("quickstart", [None]), ("vault", ["vault"]), ("everything", ["vault"])]
)
def test_pods_have_only_required_service_account_tokens(name: str, audiences: list[str | None]) -> None:
    """A pod has a token for the API server only to read its issuer's keys, and one for Vault only for the agent."""
    for template in pods(name):
        assert template["spec"]["automountServiceAccountToken"] is False
    assert tokens(server(name)) == audiences
    assert tokens(job(name)) == [each for each in audiences if each]
    for template in pods(name):
        for container in template["spec"]["containers"]:
            assert "vault-agent" not in [mount["name"] for mount in container["volumeMounts"]]


@pytest.mark.parametrize("name", CASES)
def test_server_has_no_owner_dsn(name: str) -> None:
    """The server has no owner DSN and the migration no app DSN: what serves cannot change the schema."""
    serving, migrating = yaml.safe_dump(server(name)), yaml.safe_dump(job(name))
    assert "owner" not in serving.replace("ownerReferences", "").lower()
    assert "OWNER_DSN" in migrating
    assert not [
        each for each in ("POSTGRES_DSN", "WORKER_DSN", "TRACE__") if each in migrating and name != "everything"
    ]


@pytest.mark.parametrize("name", CASES)
def test_no_secret_is_an_environment_variable(name: str) -> None:
    """Secrets are files, never environment variables, which other processes of the user could read."""
    for template in pods(name):
        for container in [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]:
            assert not [each for each in container.get("env", []) if "valueFrom" in each]
            assert not [each for each in container.get("envFrom", []) if "secretRef" in each]


@pytest.mark.parametrize("name", CASES)
def test_every_settings_folder_is_mounted(name: str) -> None:
    """Each settings folder is mounted: the service does not start when one is missing."""
    for template in pods(name):
        (container,) = template["spec"]["containers"]
        (folders,) = (each["value"] for each in container["env"] if each["name"] == "SOMABRAIN_SECRETS_DIR")
        mounts = [each["mountPath"] for each in container["volumeMounts"]]
        assert folders
        assert all(any(folder.startswith(mount) for mount in mounts) for folder in folders.split(":"))


@pytest.mark.parametrize("name", ["vault", "everything"])
def test_vault_secrets_are_stored_in_memory(name: str) -> None:
    """Vault's secrets are in memory, written by an init container that ends before the others start."""
    for template in pods(name):
        (files,) = (each for each in template["spec"]["volumes"] if each["name"] == "vault-files")
        assert files["emptyDir"]["medium"] == "Memory"
        agent = template["spec"]["initContainers"][0]
        assert (agent["name"], "restartPolicy" in agent) == ("vault", False)
        agent_config = json.loads(template["metadata"]["annotations"]["somabrain.io/vault-agent"])
        assert agent_config["exit_after_auth"] is True
        assert all(each["error_on_missing_key"] and each["perms"] == "0400" for each in agent_config["template"])


@pytest.mark.parametrize("name", CASES)
def test_termination_grace_period_exceeds_drain(name: str) -> None:
    """The termination grace period is longer than the drain, so calls in flight can finish."""
    (config,) = (each["data"] for each in rendered(name) if each["metadata"]["name"].endswith("-config"))
    delay = next(config[name] for name in config if present_name(name) == "SOMABRAIN_GRPC__SHUTDOWN_DELAY_S")
    drain_s = float(config["SOMABRAIN_GRPC__DRAIN_S"]) + float(delay)
    assert server(name)["spec"]["terminationGracePeriodSeconds"] > drain_s


def test_every_container_accepts_cpu_limit() -> None:
    """Every container's resources are fields of the spec: a quota may require limits that are not the defaults."""
    limited = {"resources": {"limits": {"cpu": "1", "memory": "512Mi"}}}
    fields = {
        **CASES["vault"],
        **limited,
        "migration": limited,
        "vault": {**CASES["vault"]["vault"], **limited},
        "opa": limited,
        "mcp": {**CASES["mcp-one-resource"]["mcp"], **limited},
    }
    templates = [
        each["spec"]["template"]["spec"]
        for each in yaml.safe_load_all(manifests(fields))
        if each["kind"] in ("Deployment", "Job")
    ]
    containers = [each for pod in templates for each in (*pod.get("initContainers", ()), *pod["containers"])]
    assert sorted(each["name"] for each in containers) == ["mcp", "migrate", "opa", "server", "vault", "vault"]
    assert all(each["resources"]["limits"] == limited["resources"]["limits"] for each in containers)


def test_child_names_fit_for_longest_resource_name() -> None:
    """With the longest name (40 characters) the names of all children fit into 63."""
    longest = "a" * 40
    assert all(len(value) <= 63 for value in labels(longest, "server").values())
    assert len(f"{longest}-migrate-{'0' * 8}-9999") <= 63
