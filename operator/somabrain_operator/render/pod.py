"""Common parts of the pods of server and migration: restricted Pod Security, no more privileges than needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from somabrain_operator.api.v1alpha1.base import LocalObjectReference
from somabrain_operator.api.v1alpha1.placement import PodSecurityContext, Scheduling
from somabrain_operator.api.v1alpha1.resources import ResourceRequirements
from somabrain_operator.kube.objects import Json

UID: Final = 10001
TMP_VOLUME: Final[dict[str, Json]] = {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}
TMP_MOUNT: Final[dict[str, Json]] = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - the pod's own emptyDir


def pod_security(context: PodSecurityContext | None) -> dict[str, Json]:
    """Return the pod's security context under the restricted Pod Security Standard, with our ids or the given ones."""
    ids = PodSecurityContext(run_as_user=UID, run_as_group=UID, fs_group=UID) if context is None else context
    return {
        "runAsNonRoot": True,
        **ids.model_dump(by_alias=True, exclude_none=True),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Json]:
    """Return a container's security context under the restricted Pod Security Standard."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def resource_requirements(resources: ResourceRequirements) -> dict[str, Json]:
    """Return a container's resources; amounts that are not set are left to the cluster."""
    return resources.model_dump(exclude_none=True, mode="json")


def scheduling_fields(scheduling: Scheduling) -> dict[str, Json]:
    """Return the scheduling fields of a pod's spec; those that are not set are left out."""
    return _without_empty(scheduling.model_dump(by_alias=True, exclude_none=True, mode="json"))


def image_pull_secrets(secrets: Iterable[LocalObjectReference]) -> dict[str, Json]:
    """Return the `imagePullSecrets` field of a pod's spec; empty if there are no Secrets."""
    references: list[Json] = [{"name": each.name} for each in secrets]
    return {"imagePullSecrets": references} if references else {}


def _without_empty(tree: Mapping[str, Json]) -> dict[str, Json]:
    """Return a tree without empty lists and mappings, which the API server omits, too."""
    pruned = {field: _without_empty(value) if isinstance(value, Mapping) else value for field, value in tree.items()}
    return {field: value for field, value in pruned.items() if value not in ({}, [])}


def http_probe(path: str, port: str, *, period_s: int, failures: int, timeout_s: int = 2) -> dict[str, Json]:
    """Return a probe over HTTP, because the kubelet's gRPC probes cannot use TLS."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period_s,
        "failureThreshold": failures,
        "timeoutSeconds": timeout_s,
    }
