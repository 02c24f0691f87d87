"""Every pod of every chart complies with the restricted Pod Security profile."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.conftest import CHARTS, Render
from tests.chart.restricted import pod_specs, violations

VARIANTS = [*((chart.name,) for chart in CHARTS), ("soma-infra", "profile=full")]


@pytest.fixture(params=VARIANTS, ids=" ".join)
def pods(request: pytest.FixtureRequest, render: Render) -> list[dict[str, Any]]:
    """The pods of a chart, including those of `helm test`."""
    specs = [pod for manifest in render(*request.param) for pod in pod_specs(manifest)]
    assert specs, f"{request.param} renders no pod"
    return specs


def test_every_pod_meets_restricted_profile(pods: list[dict[str, Any]]) -> None:
    """No pod has root, privileges, capabilities, or directories of the node."""
    assert [violations(pod) for pod in pods] == [[]] * len(pods)


def test_every_container_has_read_only_root_filesystem(pods: list[dict[str, Any]]) -> None:
    """Each container has a read-only root file system."""
    for pod in pods:
        assert all(c["securityContext"]["readOnlyRootFilesystem"] for c in pod["containers"])


def test_every_container_has_memory_request_and_limit(pods: list[dict[str, Any]]) -> None:
    """Each container has a memory request for the scheduler and a memory limit."""
    for pod in pods:
        for container in pod["containers"]:
            assert container["resources"]["requests"]["memory"]
            assert container["resources"]["limits"]["memory"]


def test_image_pull_policy_is_if_not_present(pods: list[dict[str, Any]]) -> None:
    """Images that are on the node, or pinned by digest, are not pulled again."""
    assert {c["imagePullPolicy"] for pod in pods for c in pod["containers"]} == {"IfNotPresent"}


BAD_POD: dict[str, Any] = {
    "hostNetwork": True,
    "volumes": [{"name": "node", "hostPath": {"path": "/"}}],
    "containers": [{"name": "one", "securityContext": {"runAsNonRoot": True, "capabilities": {"add": ["NET_ADMIN"]}}}],
}


def test_violations_of_unrestricted_pod_are_detected() -> None:
    """The check of the restricted profile detects each violation."""
    assert violations(BAD_POD) == [
        "hostNetwork is true",
        "volume node is a hostPath",
        "container one may gain privileges",
        "container one keeps capabilities",
        "container one has no seccomp profile",
    ]
