"""Overlap of the SomaBrain's PodDisruptionBudgets with those of others.

The API server refuses each eviction of a pod that two budgets select, so the drain of a node hangs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from somabrain_operator.kube.label_selector import selects
from somabrain_operator.kube.objects import Json, Manifest, mapping
from somabrain_operator.observe.pod_status import of_component
from somabrain_operator.plan.plan import Plan

OVERLAP_CHECK_INTERVAL_S: Final = 60.0
"""Seconds between checks whether an overlap is over: the budgets of others are not watched."""
MAX_LISTED_BUDGETS: Final = 5
"""Maximum budgets that a message names; the others are counted."""


def find_overlaps(plan: Plan, component: str, deployment: Manifest | None, field: str) -> Plan:
    """Return the plan with the names of others' budgets that select the same pods, to be checked again while any do.

    Args:
        plan: the plan.
        component: the component of the pods.
        deployment: its rendered Deployment.
        field: path of the spec field of its budget.
    """
    pods = tuple(_label_sets(plan, component, deployment))
    overlapping = sorted(
        each.name for each in plan.observed.other_budgets.budgets if any(selects(each.selector, pod) for pod in pods)
    )
    if not overlapping:
        return plan
    more = len(overlapping) - MAX_LISTED_BUDGETS
    listed = ", ".join(overlapping[:MAX_LISTED_BUDGETS]) + (f" and {more} more" if more > 0 else "")
    message = (
        f"The pods are selected by PodDisruptionBudget {listed} and by {plan.owner.child(component)}, that of "
        f"{field}. Kubernetes evicts no pod that two budgets select, so a drain of its node hangs; "
        f"delete {listed}, exclude the pods from its selector, or remove {field}."
    )
    due_s = min(OVERLAP_CHECK_INTERVAL_S, plan.requeue_after_s or OVERLAP_CHECK_INTERVAL_S)
    return replace(plan, budget_overlap=f"{plan.budget_overlap} {message}".strip(), requeue_after_s=due_s)


def unlisted_budgets_notes(plan: Plan) -> Iterator[str]:
    """Yield a sentence for the status if the budgets of others are unknown."""
    if failure := plan.observed.other_budgets.failure:
        yield f"Whether another PodDisruptionBudget selects the same pods is unknown: {failure.rstrip('.')}."


def _label_sets(plan: Plan, component: str, deployment: Manifest | None) -> Iterator[Mapping[str, Json]]:
    """Yield the labels of the pods as rendered, and of those that run: a webhook may have added some."""
    yield mapping(deployment, "spec", "template", "metadata", "labels")
    for pod in of_component(plan.observed.pods, component):
        yield mapping(pod, "metadata", "labels")
