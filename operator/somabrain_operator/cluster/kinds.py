"""The kinds that are read or written, as plain JSON: rendering and judging need no typed models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource

from somabrain_operator import names

Kind = type[GenericNamespacedResource]


def _kind(group: str, version: str, kind: str, plural: str) -> Kind:
    return create_namespaced_resource(group, version, kind, plural)


BRAIN: Final = _kind(names.GROUP, names.VERSION, names.KIND, names.PLURAL)
SECRET: Final = _kind("", "v1", "Secret", "secrets")
CONFIG_MAP: Final = _kind("", "v1", "ConfigMap", "configmaps")
POD: Final = _kind("", "v1", "Pod", "pods")
EVENT: Final = _kind("", "v1", "Event", "events")
JOB: Final = _kind("batch", "v1", "Job", "jobs")
LEASE: Final = _kind("coordination.k8s.io", "v1", "Lease", "leases")

CHILDREN: Final[Mapping[str, Kind]] = {
    "ConfigMap": CONFIG_MAP,
    "Service": _kind("", "v1", "Service", "services"),
    "ServiceAccount": _kind("", "v1", "ServiceAccount", "serviceaccounts"),
    "Deployment": _kind("apps", "v1", "Deployment", "deployments"),
    "Job": JOB,
    "PodDisruptionBudget": _kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    "HorizontalPodAutoscaler": _kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    "NetworkPolicy": _kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
}
"""What a SomaBrain may own."""
