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


def test_every_pod_meets_the_restricted_profile(pods: list[dict[str, Any]]) -> None:
    """No pod has root, privileges, capabilities, or directories of the node."""
    assert [violations(pod) for pod in pods] == [[]] * len(pods)


def test_no_container_can_write_to_its_image(pods: list[dict[str, Any]]) -> None:
    """Each container has a read-only root file system."""
    for pod in pods:
        assert all(c["securityContext"]["readOnlyRootFilesystem"] for c in pod["containers"])


def test_every_container_says_what_memory_it_needs(pods: list[dict[str, Any]]) -> None:
    """Each container has a memory request for the scheduler and a memory limit."""
    for pod in pods:
        for container in pod["containers"]:
            assert container["resources"]["requests"]["memory"]
            assert container["resources"]["limits"]["memory"]


def test_no_image_is_pulled_when_it_is_there(pods: list[dict[str, Any]]) -> None:
    """Images that are on the node, or pinned by digest, are not pulled again."""
    assert {c["imagePullPolicy"] for pod in pods for c in pod["containers"]} == {"IfNotPresent"}


BAD_POD: dict[str, Any] = {
    "hostNetwork": True,
    "volumes": [{"name": "node", "hostPath": {"path": "/"}}],
    "containers": [{"name": "one", "securityContext": {"runAsNonRoot": True, "capabilities": {"add": ["NET_ADMIN"]}}}],
}


def test_a_pod_that_is_not_restricted_is_noticed() -> None:
    """The check of the restricted profile detects each violation."""
    assert violations(BAD_POD) == [
        "hostNetwork is true",
        "volume node is a hostPath",
        "container one may gain privileges",
        "container one keeps capabilities",
        "container one has no seccomp profile",
    ]
