"""The chart of the service without the operator, from install to uninstall, on a real cluster."""

from __future__ import annotations

from examples.kubectl import Kubectl, run
from somabrain_client import MemoryClient

NAME = "alone"
OWN = "app.kubernetes.io/part-of=somabrain,app.kubernetes.io/instance=alone"
KINDS = "deployments,jobs,pods,services,configmaps,serviceaccounts"


def helm(kubectl: Kubectl, namespace: str, *words: str) -> None:
    run("helm", *words, "-n", namespace, "--kubeconfig", kubectl.kubeconfig, timeout_s=280)


async def test_sb_chart_installs_upgrades_rolls_back_and_uninstalls(
    kubectl: Kubectl, own_database: str, namespace: str
) -> None:
    """The chart migrates, passes `helm test`, preserves memories through upgrade and rollback, and uninstalls fully."""
    waiting = ("--wait", "--wait-for-jobs", "--timeout", "4m")
    helm(kubectl, namespace, "install", NAME, "helm/charts/sb", *waiting)
    helm(kubectl, namespace, "test", NAME)
    token = kubectl.token(namespace, "agent")
    with kubectl.forward(namespace, f"svc/{NAME}-grpc", 50052) as address:
        async with MemoryClient(address, token=token) as memory:
            await memory.create_namespace("notes")
            remembered = await memory.remember("notes", "Kept before the upgrade.")
    helm(kubectl, namespace, "upgrade", NAME, "helm/charts/sb", "--set", "settings.log.level=debug", *waiting)
    helm(kubectl, namespace, "rollback", NAME, "1", *waiting)
    with kubectl.forward(namespace, f"svc/{NAME}-grpc", 50052) as address:
        async with MemoryClient(address, token=token) as memory:
            assert await memory.get(remembered.name) == remembered
    helm(kubectl, namespace, "uninstall", NAME, "--wait")
    kubectl("wait", "--for=delete", "pods", "-l", OWN, "-n", namespace, "--timeout=90s", timeout_s=100)  # they drain
    assert kubectl.get(namespace, KINDS, "-l", OWN)["items"] == []
