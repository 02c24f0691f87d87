"""PodDisruptionBudgets of the servers and of the MCP server."""

from __future__ import annotations

from somabrain_operator.api.v1alpha1.placement import DisruptionBudget
from somabrain_operator.kube import names
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.kube.owner import Owner
from somabrain_operator.render.metadata import render_object


def render_disruption_budget(owner: Owner, budget: DisruptionBudget, component: str) -> Manifest:
    """Return the budget of a component.

    Pods that are not ready may always be evicted, so that a broken pod does not block a drain.
    """
    return render_object(
        owner,
        component,
        ("policy/v1", "PodDisruptionBudget"),
        {
            "spec": {
                "maxUnavailable": budget.max_unavailable,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": {"matchLabels": names.selector(owner.key.name, component)},
            }
        },
    )
