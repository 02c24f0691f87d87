"""Signals to processes in pods and on the node, to simulate a crash, an OOM kill or a hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from examples.kubectl import Kubectl, Object

POD = "signals"
# Every process whose control group names the container; the first one takes the others with it.
SCRIPT = """
for p in /proc/[0-9]*; do
  if grep -qs "$1" "$p/cgroup"; then kill "-$2" "${p#/proc/}" && echo "${p#/proc/}"; fi
done
"""

# The same processes; /proc/NUMBER/root is what such a process sees as /.
PROCESSES = """
for p in /proc/[0-9]*; do
  if grep -qs "$1" "$p/cgroup"; then echo "${p#/proc/}"; fi
done
"""

# A second later, or the API server would take the way with it by which it was asked to go.
COMPONENT = """
for p in /proc/[0-9]*; do
  if [ "$(cat "$p/comm" 2>&1)" = "$1" ]; then
    echo "${p#/proc/}"
    (sleep 1; kill -KILL "${p#/proc/}") >/dev/null 2>&1 &
  fi
done
"""


def container_id(pod: Object, container: str) -> str:
    """Return the runtime's id of a container of a pod, or of an init container."""
    statuses = [*pod["status"].get("initContainerStatuses", []), *pod["status"]["containerStatuses"]]
    (runtime_id,) = (each["containerID"] for each in statuses if each["name"] == container)
    return str(runtime_id).partition("://")[2]


@dataclass(frozen=True, slots=True)
class Chaos:
    """A privileged pod that sees every process of the node."""

    kubectl: Kubectl
    namespace: str
    image: str

    def start(self) -> None:
        """Create the pod, and wait until it runs."""
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
            AssertionError: there is no such process.
        """
        hit = self.run("sh", "-c", SCRIPT, "sh", container_id(pod, container), signal)
        assert hit.strip(), f"no process of {pod['metadata']['name']}/{container} got SIG{signal}"

    def processes(self, pod: Object, container: str) -> list[str]:
        """Return the node's process ids of a container.

        Raises:
            AssertionError: there is no such process.
        """
        pids = self.run("sh", "-c", PROCESSES, "sh", container_id(pod, container)).split()
        assert pids, f"{pod['metadata']['name']}/{container} has no process"
        return pids

    def run(self, *words: str) -> str:
        """Run a program as root in the node's process namespace, and return what it printed."""
        return self.kubectl("exec", "-n", self.namespace, POD, "--", *words)

    def kill_component(self, name: str) -> None:
        """Kill a process of the node by its name within a second; its supervisor starts it again.

        Raises:
            AssertionError: there is no such process.
        """
        hit = self.run("sh", "-c", COMPONENT, "sh", name)
        assert hit.strip(), f"no process of the node is called {name}"

    @asynccontextmanager
    async def cut(self, address: str, port: int) -> AsyncIterator[None]:
        """Reset the connections of a pod to a port of the node until the block ends.

        Raises:
            AssertionError: the pod sent nothing meanwhile, so no connection was cut.
        """
        rule = (
            "INPUT",
            "--source",
            address,
            "--protocol",
            "tcp",
            "--dport",
            str(port),
            "--jump",
            "REJECT",
            "--reject-with",
            "tcp-reset",
        )
        await asyncio.to_thread(self._iptables, "--insert", *rule)
        try:
            yield
            rules = await asyncio.to_thread(self._iptables, "--list", "INPUT", "--verbose", "--numeric", "--exact")
        finally:
            await asyncio.to_thread(self._iptables, "--delete", *rule)
        (ours,) = (line.split() for line in rules.splitlines() if address in line.split() and "REJECT" in line)
        assert int(ours[0]), f"{address} sent nothing to port {port} while it was cut"

    @contextmanager
    def frozen(self, address: str, port: int) -> Iterator[None]:
        """Drop everything that a pod is sent over its connections to a port of the node, until the block ends.

        The connections stay open and new ones work, as with a load balancer that lost its connection table.
        """
        open_now = self._node("ss", "--no-header", "--numeric", "--tcp", "dst", address, "and", "sport", f":{port}")
        peers = [line.split()[4].rpartition(":")[2] for line in open_now.splitlines()]
        assert peers, f"{address} has no connection to port {port}"
        rules = [
            (
                "OUTPUT",
                "--destination",
                address,
                "--protocol",
                "tcp",
                "--sport",
                str(port),
                "--dport",
                peer,
                "--jump",
                "DROP",
            )
            for peer in peers
        ]
        for rule in rules:
            self._iptables("--insert", *rule)
        try:
            yield
        finally:
            for rule in rules:
                self._iptables("--delete", *rule)

    def _iptables(self, *words: str) -> str:
        return self._node("iptables", "--wait", *words)

    def _node(self, *words: str) -> str:
        """Run a program of the node in the node's namespaces."""
        return self.run("nsenter", "--target", "1", "--mount", "--net", "--", *words)
