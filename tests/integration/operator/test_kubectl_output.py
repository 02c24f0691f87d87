"""kubectl works with the resource: it waits, scales, lists, describes and explains."""

from __future__ import annotations

import subprocess

from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.integration.operator.chart import tool
from tests.support.waiting import eventually


def kubectl(brain: Brain, *words: str) -> subprocess.Popen[str]:
    """Start kubectl in the namespace."""
    argv = [tool("kubectl"), "--kubeconfig", str(brain.api.server.kubeconfig), "-n", brain.namespace, *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kubectl_output(brain: Brain, *words: str) -> str:
    """Return the output of kubectl, which must succeed."""
    process = kubectl(brain, *words)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


def test_kubectl_wait_ends_when_resource_is_ready(brain: Brain, controller_stub: ControllerStub) -> None:
    """`kubectl wait`, started during the migration, ends when the resource is Ready and not before."""
    brain.apply()
    brain.until("Migrated", "False")
    waiting = kubectl(brain, "wait", f"sb/{NAME}", "--for=condition=Ready", "--timeout=60s")
    controller_stub.finish_migration()
    controller_stub.roll_out()
    brain.until("Available", "True")
    assert "condition met" in waiting.communicate(timeout=30)[0]
    assert brain.conditions()["Ready"]["status"] == "True"


def test_kubectl_wait_ignores_ready_of_older_generation(served: Brain) -> None:
    """`kubectl wait` does not take Ready=True of an older generation once the spec has changed."""
    served.apply(version="0.3.0")
    served.until("Ready", "False")
    waiting = kubectl(served, "wait", f"sb/{NAME}", "--for=condition=Ready", "--timeout=2s")
    assert "timed out" in waiting.communicate(timeout=30)[0]


def test_kubectl_scale_scales_the_deployment(served: Brain, controller_stub: ControllerStub) -> None:
    """`kubectl scale` sets the spec, the operator scales the Deployment, and `kubectl get` shows the number."""
    kubectl_output(served, "scale", f"sb/{NAME}", "--replicas=4")
    eventually(lambda: served.deployment()["spec"]["replicas"], lambda number: number == 4, "4 replicas")
    controller_stub.roll_out()
    served.until("Ready", "True", "4 of 4")
    head, line = kubectl_output(served, "get", "sb").splitlines()
    assert head.split() == ["NAME", "READY", "VERSION", "REPLICAS", "MIGRATED", "STATUS", "AGE"]
    assert line.split()[:6] == [NAME, "True", "0.2.0", "4", "Succeeded", "Ready"]


def test_kubectl_get_and_describe_show_failed_migration(brain: Brain, controller_stub: ControllerStub) -> None:
    """A failed migration is in the columns STATUS and MIGRATED, and `kubectl describe` has its message."""
    brain.apply()
    controller_stub.fail_migration("the role somabrain_owner does not exist")
    brain.until("Degraded", "True")
    assert kubectl_output(brain, "get", "sb", "--no-headers").split()[1:5] == ["False", "0", "Failed", "Degraded"]
    assert "the role somabrain_owner does not exist" in kubectl_output(brain, "describe", "sb", NAME)


def test_kubectl_explain_describes_every_field(served: Brain) -> None:
    """`kubectl explain` describes the resource by its short name."""
    assert "never past its" in kubectl_output(served, "explain", "sb.spec.auth.cacheSeconds")
