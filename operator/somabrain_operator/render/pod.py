"""What the server's pod and the migration's pod have in common: restricted Pod Security, nothing more than needed."""

from __future__ import annotations

from typing import Final

from somabrain_operator.model.placement import Scheduling
from somabrain_operator.model.pods import Resources
from somabrain_operator.tree import Json

UID: Final = 10001
TMP_VOLUME: Final[dict[str, Json]] = {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}
TMP_MOUNT: Final[dict[str, Json]] = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - the pod's own emptyDir


def pod_security() -> dict[str, Json]:
    """Return the pod's security context under the restricted Pod Security Standard."""
    return {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Json]:
    """Return a container's security context under the restricted Pod Security Standard."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def resources(wanted: Resources) -> dict[str, Json]:
    """Return a container's resources; what is not set is left to the cluster."""
    return wanted.model_dump(exclude_none=True, mode="json")


def placed(scheduling: Scheduling) -> dict[str, Json]:
    """Return on which nodes a pod runs; what is not set is left out."""
    tolerations = [each.model_dump(by_alias=True, exclude_none=True, mode="json") for each in scheduling.tolerations]
    wanted: dict[str, Json] = {"nodeSelector": scheduling.node_selector, "tolerations": tolerations}
    return {field: value for field, value in wanted.items() if value}


def from_secret(variable: str, secret: str, key: str) -> dict[str, Json]:
    """Return an environment variable whose value stays in its Secret."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def http_probe(path: str, port: str, *, period_s: int, failures: int, timeout_s: int = 2) -> dict[str, Json]:
    """Return a probe over HTTP, because the kubelet's gRPC probes cannot use TLS."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period_s,
        "failureThreshold": failures,
        "timeoutSeconds": timeout_s,
    }
