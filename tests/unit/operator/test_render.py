"""What is rendered is pinned by tests/golden, and keeps the promises that no golden file can state."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from common.config.settings import Settings, unknown_variables
from somabrain_operator.names import labels
from tests.golden.regenerate import CASES, FOLDER, manifests


@pytest.mark.parametrize("name", CASES)
def test_the_manifests_are_those_of_the_golden_file(name: str) -> None:
    """A change of what is rendered is seen in a diff; `.venv/bin/python tests/golden/regenerate.py` writes it."""
    assert manifests(CASES[name]) == (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def rendered(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(manifests(CASES[name])))


def pods(name: str) -> list[dict[str, Any]]:
    return [each["spec"]["template"] for each in rendered(name) if each["kind"] in ("Deployment", "Job")]


@pytest.mark.parametrize("name", CASES)
def test_every_container_meets_the_restricted_profile(name: str) -> None:
    """No root, no capability, no escalation, the default seccomp profile, a read-only root."""
    for pod in (template["spec"] for template in pods(name)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize("name", CASES)
def test_every_variable_is_a_setting_of_the_service(name: str) -> None:
    """The service refuses what it does not know, so a variable or a file misspelt here would keep it from starting."""
    given: dict[str, str] = {}
    for manifest in rendered(name):
        if manifest["metadata"]["name"].endswith("-config"):
            given |= manifest["data"]
    for template in pods(name):
        for container in template["spec"]["containers"]:
            given |= {each["name"]: each["value"] for each in container["env"]}
        for volume in template["spec"]["volumes"]:
            for source in volume.get("projected", {}).get("sources", ()):
                given |= {each["path"]: "x" for each in source.get("secret", {}).get("items", ())}
    files = {name for name in given if not name.startswith("SOMABRAIN_")}
    assert files <= {"ca.crt"}
    assert unknown_variables(given) == []
    assert len(given) > 15


def test_the_settings_are_accepted_by_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value has the type and the bounds of its setting."""
    (config,) = (each for each in rendered("everything") if each["metadata"]["name"] == "quickstart-config")
    for name, value in config["data"].items():
        monkeypatch.setenv(name, value)
    told = Settings()
    assert (told.auth.scope_claim, told.encoder.kind, told.grpc.drain_s) == ("/scope", "lexical", 60.0)
    assert str(told.auth.jwks_url) == "https://issuer.example/keys"
    assert told.auth.jwks_token_file is None


def server(name: str) -> Any:
    (found,) = (each for each in rendered(name) if each["kind"] == "Deployment")
    return found["spec"]["template"]


def job(name: str) -> Any:
    (found,) = (each for each in rendered(name) if each["kind"] == "Job")
    return found["spec"]["template"]


def tokens(template: Any) -> list[str | None]:
    """Return the audiences of the tokens that a pod is given; None: the API server's own."""
    sources = [
        each for volume in template["spec"]["volumes"] for each in volume.get("projected", {}).get("sources", ())
    ]
    return [each["serviceAccountToken"].get("audience") for each in sources if "serviceAccountToken" in each]


@pytest.mark.parametrize(
    ("name", "given"), [("quickstart", [None]), ("vault", [None, "vault"]), ("everything", ["vault"])]
)
def test_a_pod_is_given_only_the_tokens_it_needs(name: str, given: list[str | None]) -> None:
    """One for the API server to read its issuer's keys, where it is the issuer; one for Vault, for the agent."""
    for template in pods(name):
        assert template["spec"]["automountServiceAccountToken"] is False
    assert tokens(server(name)) == given
    assert tokens(job(name)) == [each for each in given if each]
    for template in pods(name):
        for container in template["spec"]["containers"]:
            assert "vault-agent" not in [mount["name"] for mount in container["volumeMounts"]]


@pytest.mark.parametrize("name", CASES)
def test_the_server_never_sees_the_owner_s_secret(name: str) -> None:
    """Whoever serves calls cannot change the schema; whoever changes it does not serve."""
    serving, migrating = yaml.safe_dump(server(name)), yaml.safe_dump(job(name))
    assert "owner" not in serving.replace("ownerReferences", "").lower()
    assert "OWNER_DSN" in migrating
    assert not [
        each for each in ("POSTGRES_DSN", "WORKER_DSN", "TRACE__") if each in migrating and name != "everything"
    ]


@pytest.mark.parametrize("name", CASES)
def test_no_secret_is_a_variable(name: str) -> None:
    """A process's environment is read by every other of its user; a file is read by who opens it."""
    for template in pods(name):
        for container in [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]:
            assert not [each for each in container.get("env", []) if "valueFrom" in each]
            assert not [each for each in container.get("envFrom", []) if "secretRef" in each]


@pytest.mark.parametrize("name", CASES)
def test_each_folder_of_settings_is_mounted(name: str) -> None:
    """The service refuses to start with one that is not there."""
    for template in pods(name):
        (container,) = template["spec"]["containers"]
        (folders,) = (each["value"] for each in container["env"] if each["name"] == "SOMABRAIN_SECRETS_DIR")
        mounts = [each["mountPath"] for each in container["volumeMounts"]]
        assert folders
        assert all(any(folder.startswith(mount) for mount in mounts) for folder in folders.split(":"))


@pytest.mark.parametrize("name", ["vault", "everything"])
def test_secrets_of_vault_lie_in_memory(name: str) -> None:
    """And are written by a container that is over before the others start."""
    for template in pods(name):
        (files,) = (each for each in template["spec"]["volumes"] if each["name"] == "vault-files")
        assert files["emptyDir"]["medium"] == "Memory"
        agent = template["spec"]["initContainers"][0]
        assert (agent["name"], "restartPolicy" in agent) == ("vault", False)
        told = json.loads(template["metadata"]["annotations"]["somabrain.io/vault-agent"])
        assert told["exit_after_auth"] is True
        assert all(each["error_on_missing_key"] and each["perms"] == "0400" for each in told["template"])


@pytest.mark.parametrize("name", CASES)
def test_the_kubelet_waits_longer_than_the_server_drains(name: str) -> None:
    """A pod is not killed while calls in flight may still finish."""
    (config,) = (each["data"] for each in rendered(name) if each["metadata"]["name"].endswith("-config"))
    drain_s = float(config["SOMABRAIN_GRPC__DRAIN_S"]) + float(config["SOMABRAIN_GRPC__DRAIN_NOTICE_S"])
    assert server(name)["spec"]["terminationGracePeriodSeconds"] > drain_s


def test_names_and_labels_fit_for_the_longest_name() -> None:
    """40 characters of a name leave room for every child: 63 is the bound of labels and Services."""
    longest = "a" * 40
    assert all(len(value) <= 63 for value in labels(longest, "server").values())
    assert len(f"{longest}-migrate-{'0' * 8}-9999") <= 63
