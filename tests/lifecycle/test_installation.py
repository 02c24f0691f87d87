"""The installation pages, followed word by word on a new cluster: `make e2e-full`."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.environment import inherited, local_paths
from examples.kubectl import ROOT, Kubectl

pytestmark = pytest.mark.timeout(1200)

LEFT = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
"""Objects that Kubernetes puts into every namespace."""


def commands(page: str) -> Iterator[str]:
    """Return the commands of a page, one string for each code block."""
    yield from re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


def follow(kubectl: Kubectl, script: str) -> str:
    """Run commands in one shell, and stop at the first that fails."""
    path = f"{local_paths().bin}:{Path(sys.executable).parent}:{inherited()['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=inherited(PATH=path, KUBECONFIG=str(kubectl.kubeconfig)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_five_minute_install_page_works(kubectl: Kubectl) -> None:
    """The commands of the installation page, run in order in one shell, end with an answer."""
    output = follow(kubectl, "\n".join(commands("install.md")))
    assert "Alice prefers green tea in the morning." in output
    assert "lexical" in output


def test_operator_upgrade_and_rollback_keep_the_service_ready(kubectl: Kubectl) -> None:
    """The SomaBrain is Ready after an upgrade as the page describes it, and after the rollback."""
    upgrade, _ = next(block for block in commands("operations.md") if "helm upgrade" in block).split("\n", 1)
    for command in (upgrade, "helm rollback somabrain-operator 1 --namespace somabrain-system --wait"):
        follow(kubectl, command)
        follow(kubectl, "kubectl rollout status deployment/somabrain-operator -n somabrain-system --timeout=3m")
        follow(kubectl, "kubectl wait --namespace demo --for=condition=Ready sb/quickstart --timeout=3m")
    follow(kubectl, "helm test somabrain-operator --namespace somabrain-system")


def test_documented_uninstall_leaves_only_volumes_and_password(kubectl: Kubectl) -> None:
    """After the uninstall only the objects named by the page are left: the database's claims and its password."""
    uninstall = next(block for block in commands("operations.md") if "helm uninstall" in block)
    follow(kubectl, uninstall)
    kinds = "deployments,statefulsets,jobs,services,configmaps,serviceaccounts,secrets,roles,rolebindings,leases"
    follow(kubectl, "kubectl wait --for=delete pods --all --namespace demo --timeout=2m")
    remaining = set(kubectl("get", kinds, "-n", "soma-infra", "-o", "name").split())
    assert remaining - LEFT == {"secret/postgresql"}
    assert "namespace/somabrain-system" not in kubectl("get", "namespaces", "-o", "name").split()
    assert "somabrains.somabrain.io" not in kubectl("get", "crd", "-o", "name")
