"""Catalog of the children with fixed names. Jobs are not in it: their names have a hash and a number."""

from __future__ import annotations

from typing import Final

from somabrain_operator.kube.names import MCP, PROVISION, SERVER, ChildId, child_name

GRPC: Final = "grpc"
HEADLESS: Final = "headless"
CONFIG: Final = "config"
POLICY: Final = "policy"
LAST_APPLIED: Final = "applied"
DASHBOARD: Final = "dashboard"
DATABASE: Final = "database"
"""Components without pods: the last parts of the names of their objects."""


def last_applied_id(brain: str) -> ChildId:
    """Return the identity of the ConfigMap that stores the last applied children."""
    return ChildId("ConfigMap", child_name(brain, LAST_APPLIED))


def possible_children(brain: str) -> tuple[ChildId, ...]:
    """Return the children with fixed names that any spec can lead to; those that are not in the plan are pruned."""
    return (
        ChildId("ServiceAccount", child_name(brain, SERVER)),
        ChildId("Service", child_name(brain, GRPC)),
        ChildId("Service", child_name(brain, HEADLESS)),
        ChildId("ConfigMap", child_name(brain, CONFIG)),
        ChildId("ConfigMap", child_name(brain, POLICY)),
        last_applied_id(brain),
        ChildId("Deployment", child_name(brain, SERVER)),
        ChildId("HorizontalPodAutoscaler", child_name(brain, SERVER)),
        ChildId("PodDisruptionBudget", child_name(brain, SERVER)),
        ChildId("NetworkPolicy", child_name(brain, SERVER)),
        ChildId("Service", child_name(brain, MCP)),
        ChildId("Deployment", child_name(brain, MCP)),
        ChildId("PodDisruptionBudget", child_name(brain, MCP)),
        ChildId("NetworkPolicy", child_name(brain, MCP)),
        ChildId("NetworkPolicy", child_name(brain, PROVISION)),
        ChildId("ServiceMonitor", child_name(brain, SERVER)),
        ChildId("PrometheusRule", child_name(brain, SERVER)),
        ChildId("ConfigMap", child_name(brain, DASHBOARD)),
    )
