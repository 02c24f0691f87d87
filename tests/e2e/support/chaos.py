"""Signals to processes in pods, from outside of them: what a crash, an OOM kill or a hang looks like."""

from __future__ import annotations

from dataclasses import dataclass

from examples.kubectl import Kubectl, Object

POD = "signals"
# Every process whose control group names the container; the first one takes the others with it.
SCRIPT = """
for p in /proc/[0-9]*; do
  if grep -qs "$1" "$p/cgroup"; then kill "-$2" "${p#/proc/}" && echo "${p#/proc/}"; fi
done
"""


def container_id(pod: Object, container: str) -> str:
    """Return the runtime's id of a container of a pod, init containers included."""
    statuses = [*pod["status"].get("initContainerStatuses", []), *pod["status"]["containerStatuses"]]
    (found,) = (each["containerID"] for each in statuses if each["name"] == container)
    return str(found).partition("://")[2]


@dataclass(frozen=True, slots=True)
class Chaos:
    """A privileged pod that sees every process of the node."""

    kubectl: Kubectl
    namespace: str
    image: str

    def start(self) -> None:
        """Make the pod, and wait for it."""
        self.kubectl.apply(
            self.namespace,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": {"e2e": "true"}}},
        )
        container = {
            "name": POD,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "infinity"],
            "securityContext": {"privileged": True, "runAsUser": 0},
        }
        spec = {"hostPID": True, "terminationGracePeriodSeconds": 0, "containers": [container]}
        self.kubectl.apply(self.namespace, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": spec})
        self.kubectl("wait", "-n", self.namespace, f"pod/{POD}", "--for=condition=Ready", "--timeout=60s", timeout_s=70)

    def signal(self, signal: str, pod: Object, container: str) -> None:
        """Send `signal` (KILL, STOP, CONT) to every process of a container.

        Raises:
            AssertionError: there was none.
        """
        words = ("sh", "-c", SCRIPT, "sh", container_id(pod, container), signal)
        hit = self.kubectl("exec", "-n", self.namespace, POD, "--", *words)
        assert hit.strip(), f"no process of {pod['metadata']['name']}/{container} got SIG{signal}"
