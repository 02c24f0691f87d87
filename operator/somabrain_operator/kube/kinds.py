"""Kinds that the operator reads or writes, as plain JSON: rendering and evaluation need no typed models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from somabrain_operator.kube import names

ALL_NAMESPACES: Final = "*"
"""Used as a namespace: all namespaces."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A namespaced kind as the API server serves it."""

    group: str
    """API group; empty: the core group."""
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        """Value of `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Return the URL path of an object, or of the collection in a namespace if `name` is empty."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        namespace_path = "" if namespace == ALL_NAMESPACES else f"/namespaces/{namespace}"
        return "/".join(part for part in (f"{root}{namespace_path}/{self.plural}", name, subresource) if part)


BRAIN: Final = Kind(names.GROUP, names.VERSION, names.KIND, names.PLURAL)
SECRET: Final = Kind("", "v1", "Secret", "secrets")
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps")
POD: Final = Kind("", "v1", "Pod", "pods")
EVENT: Final = Kind("", "v1", "Event", "events")
LEASE: Final = Kind("coordination.k8s.io", "v1", "Lease", "leases")

PROMETHEUS: Final = (
    Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
    Kind("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
)
"""Optional kinds of the Prometheus operator."""

CHILDREN: Final[Mapping[str, Kind]] = {
    each.kind: each
    for each in (
        CONFIG_MAP,
        Kind("", "v1", "Service", "services"),
        Kind("", "v1", "ServiceAccount", "serviceaccounts"),
        Kind("apps", "v1", "Deployment", "deployments"),
        Kind("batch", "v1", "Job", "jobs"),
        Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
        Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
        Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
        *PROMETHEUS,
    )
}
"""Kinds that a SomaBrain may own, by name of the kind."""

WATCHED: Final[Mapping[str, Kind]] = {**CHILDREN, POD.kind: POD}
"""Kinds that are watched besides SomaBrain, with the operator's label as selector."""
