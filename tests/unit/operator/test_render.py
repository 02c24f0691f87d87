"""What is rendered is pinned by tests/golden, and keeps the promises that no golden file can state."""

from __future__ import annotations

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
    """The service refuses variables it does not know, so one misspelt here would keep it from starting."""
    given: dict[str, str] = {}
    for manifest in rendered(name):
        if manifest["metadata"]["name"].endswith("-config"):
            given |= manifest["data"]
    for template in pods(name):
        for container in template["spec"]["containers"]:
            given |= {each["name"]: each.get("value", "postgresql://x") for each in container["env"]}
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


@pytest.mark.parametrize(("name", "mounted"), [("quickstart", True), ("everything", False)])
def test_only_the_cluster_s_own_issuer_is_asked_with_a_token(name: str, mounted: bool) -> None:
    """No pod holds a token of the API server, but for the short-lived one that reads the issuer's keys."""
    for template in pods(name):
        assert template["spec"]["automountServiceAccountToken"] is False
        projected = [volume for volume in template["spec"]["volumes"] if "projected" in volume]
        is_server = "initContainers" in template["spec"]
        assert bool(projected) is (mounted and is_server)


@pytest.mark.parametrize("name", CASES)
def test_the_server_never_sees_the_owner_s_secret(name: str) -> None:
    """Whoever serves calls cannot change the schema."""
    (server,) = (each for each in pods(name) if "initContainers" in each["spec"])
    assert "owner-dsn" not in yaml.safe_dump(server)


@pytest.mark.parametrize("name", CASES)
def test_the_kubelet_waits_longer_than_the_server_drains(name: str) -> None:
    """A pod is not killed while calls in flight may still finish."""
    (config,) = (each["data"] for each in rendered(name) if each["metadata"]["name"].endswith("-config"))
    (server,) = (each["spec"] for each in pods(name) if "initContainers" in each["spec"])
    drain_s = float(config["SOMABRAIN_GRPC__DRAIN_S"]) + float(config["SOMABRAIN_GRPC__DRAIN_NOTICE_S"])
    assert server["terminationGracePeriodSeconds"] > drain_s


def test_names_and_labels_fit_for_the_longest_name() -> None:
    """40 characters of a name leave room for every child: 63 is the bound of labels and Services."""
    longest = "a" * 40
    assert all(len(value) <= 63 for value in labels(longest, "server").values())
    assert len(f"{longest}-migrate-{'0' * 8}-9999") <= 63
