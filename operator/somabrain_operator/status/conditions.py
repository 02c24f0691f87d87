"""Conditions that follow from the plan and the state of the Deployment. Those of the plan are used unchanged."""

from __future__ import annotations

from typing import Final, get_args

from somabrain_operator.api.v1alpha1.status import ConditionType
from somabrain_operator.plan.plan import ConditionResult, Plan
from somabrain_operator.status.rollout import Rollout, summarize

CONDITION_ORDER: Final[tuple[ConditionType, ...]] = get_args(ConditionType)


def available(rollout: Rollout) -> ConditionResult:
    """Return the condition Available: at least one pod serves."""
    if not rollout.exists:
        return ConditionResult("False", "NotDeployed", "There is no Deployment yet.")
    if rollout.desired == 0 and rollout.ready == 0:
        return ConditionResult("False", "Hibernated", "spec.replicas is 0: nothing serves; the memories are kept.")
    if rollout.ready == 0:
        return ConditionResult("False", "NoPodReady", f"No pod serves. {summarize(rollout.unready)}".strip())
    total = max(rollout.desired, rollout.replicas)
    if rollout.ready < total:
        message = f"{rollout.ready} of {total} pods serve. {summarize(rollout.unready)}".strip()
        return ConditionResult("True", "SomePodsReady", message)
    return ConditionResult("True", "PodsReady", f"{rollout.ready} of {total} pods serve.")


def progressing(plan: Plan, rollout: Rollout, deployment_drift: str) -> ConditionResult:
    """Return the condition Progressing: a change is in progress that completes by itself.

    Args:
        plan: the plan.
        rollout: state of the Deployment.
        deployment_drift: how the Deployment differs from its manifest after the apply; empty if it does not.
    """
    if plan.halted_by is not None and not plan.failed:
        return ConditionResult("True", plan.halted_by.reason, plan.halted_by.message)
    if plan.halted_by is not None:
        return ConditionResult("False", plan.halted_by.reason, "Nothing changes until the failure is fixed.")
    if rollout.stalled:
        return ConditionResult(
            "False",
            "Stalled",
            f"The rollout makes no progress: {rollout.stalled}. {summarize(rollout.unready)}".strip(),
        )
    if deployment_drift:
        return ConditionResult("False", "ChangesWait" if plan.paused else "DriftRemains", deployment_drift)
    if rollout.exists and not rollout.generation_observed:
        return ConditionResult(
            "True", "RollingOut", "The cluster's Deployment controller has not observed the last change yet."
        )
    if not rollout.all_updated or (not rollout.completed and rollout.ready < rollout.desired):
        message = f"{rollout.updated} of {rollout.desired} pods are updated to the spec. {summarize(rollout.unready)}"
        return ConditionResult("True", "RollingOut", message.strip())
    if rollout.ready < rollout.desired:
        message = (
            f"All pods are updated to the spec; {rollout.ready} of {rollout.desired} serve. "
            f"{summarize(rollout.unready)}"
        )
        return ConditionResult("False", "RolledOut", message.strip())
    return ConditionResult("False", "RolledOut", "All pods are updated to the spec.")


def degraded(plan: Plan, rollout: Rollout, refusal: str, remaining_drift: str, scaling_failure: str) -> ConditionResult:
    """Return the condition Degraded: a failure that a person may have to fix.

    Args:
        plan: the plan.
        rollout: state of the Deployment.
        refusal: error message of a write that the API server refused; empty if none.
        remaining_drift: how a child differs from its manifest after the apply; empty if none does.
        scaling_failure: reason why the autoscaler does not scale; empty if it does or does not exist.
    """
    if refusal:
        return ConditionResult("True", "ApplyRefused", refusal)
    if plan.halted_by is not None and plan.failed:
        return ConditionResult("True", plan.halted_by.reason, plan.halted_by.message)
    if rollout.stalled:
        return ConditionResult(
            "True", "Stalled", f"The rollout makes no progress: {rollout.stalled}. {summarize(rollout.unready)}".strip()
        )
    if remaining_drift and not plan.paused:
        return ConditionResult("True", "DriftRemains", remaining_drift)
    lost_readiness = (
        rollout.completed and rollout.all_updated and not rollout.starting and rollout.ready < rollout.desired
    )
    if rollout.exists and (
        rollout.has_failing_pod or lost_readiness
    ):  # a failure also if the old pods of a rollout still serve
        return ConditionResult("True", "PodsNotReady", summarize(rollout.unready) or "Some pods do not serve.")
    if rollout.exists and scaling_failure:
        return ConditionResult("True", "NotScaling", scaling_failure)
    if plan.database_failure:
        return ConditionResult("True", "ProvisionFailed", plan.database_failure)
    if plan.budget_overlap:
        return ConditionResult("True", "BudgetsOverlap", plan.budget_overlap)
    if plan.halted_by is not None or (rollout.exists and rollout.ready < rollout.desired):
        return ConditionResult("False", "UnderWay", "A change is in progress; see the condition Progressing.")
    return ConditionResult("False", "AsExpected", "Nothing is wrong.")


def ready(plan: Plan, rollout: Rollout, refusal: str, deployment_drift: str) -> ConditionResult:
    """Return the condition Ready: the service matches the spec, and serves unless it is hibernated."""
    if refusal:
        return ConditionResult("False", "ApplyRefused", refusal)
    if plan.halted_by is not None:
        return ConditionResult("False", plan.halted_by.reason, plan.halted_by.message)
    availability = available(rollout)
    if availability.status != "True" and availability.reason != "Hibernated":
        return ConditionResult("False", availability.reason, availability.message)
    progress = progressing(plan, rollout, deployment_drift)
    if deployment_drift or not rollout.all_updated or rollout.stalled:
        return ConditionResult("False", progress.reason, progress.message)
    if rollout.ready < rollout.desired:
        return ConditionResult("False", availability.reason, availability.message)
    if availability.status != "True":  # hibernated by the spec: nothing more to do
        return ConditionResult("True", availability.reason, availability.message)
    return ConditionResult("True", "Serving", availability.message)
