"""The restricted Pod Security profile as a pure check of a pod's specification.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (restricted, which includes
baseline). The cluster enforces it as well; this check needs no cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SECCOMP = ("RuntimeDefault", "Localhost")
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def pod_specs(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the pod specification of a Pod, or of an object with a pod template."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Pod":
        yield spec
    elif manifest["kind"] == "CronJob":
        yield spec["jobTemplate"]["spec"]["template"]["spec"]
    elif "template" in spec:
        yield spec["template"]["spec"]


def violations(pod: dict[str, Any]) -> list[str]:
    """Return the violations of the restricted profile in `pod`, as sentences."""
    problems = [f"{name} is true" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    problems += [
        f"volume {volume['name']} is a {kind}"
        for volume in pod.get("volumes", [])
        for kind in set(volume) - {"name"} - VOLUMES
    ]
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        merged = pod.get("securityContext", {}) | container.get("securityContext", {})
        added = set(merged.get("capabilities", {}).get("add", []))
        facts = {
            "may run as root": merged.get("runAsNonRoot") is not True or merged.get("runAsUser") == 0,
            "may gain privileges": merged.get("allowPrivilegeEscalation") is not False or merged.get("privileged"),
            "keeps capabilities": "ALL" not in merged.get("capabilities", {}).get("drop", []) or added,
            "has no seccomp profile": merged.get("seccompProfile", {}).get("type")
            not in ("RuntimeDefault", "Localhost"),
            "binds a port of the node": any("hostPort" in port for port in container.get("ports", [])),
        }
        problems += [f"container {container['name']} {fact}" for fact, violated in facts.items() if violated]
    return problems
