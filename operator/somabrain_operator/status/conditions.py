"""The conditions that follow from where the Deployment stands. What the plan found is taken as it is."""

from __future__ import annotations

from typing import Final

from somabrain_operator.model.status import ConditionType
from somabrain_operator.plan.values import Finding, Plan
from somabrain_operator.status.rollout import Rollout, listed

ORDER: Final[tuple[ConditionType, ...]] = (
    "Ready", "ConfigValid", "ReferencesResolved", "Migrated", "Available", "Progressing", "Degraded", "Paused",
)  # fmt: skip


def available(now: Rollout) -> Finding:
    """Say whether calls are answered."""
    if not now.exists:
        return Finding("False", "NotDeployed", "There is no Deployment yet.")
    if now.desired == 0 and now.ready == 0:
        return Finding("False", "Hibernated", "spec.replicas is 0: nothing serves; the memories are kept.")
    if now.ready == 0:
        return Finding("False", "NoPodReady", f"No pod serves. {listed(now.unready)}".strip())
    there = max(now.desired, now.replicas)
    if now.ready < there:
        message = f"{now.ready} of {there} pods serve. {listed(now.unready)}".strip()
        return Finding("True", "SomePodsReady", message)
    return Finding("True", "PodsReady", f"{now.ready} of {there} pods serve.")


def progressing(plan: Plan, now: Rollout, gap: str) -> Finding:
    """Say whether something is under way that will end by itself.

    Args:
        plan: what was found.
        now: where the Deployment stands.
        gap: where the Deployment is not as rendered after all was done; empty: nowhere.
    """
    if plan.stopped is not None and not plan.holds_back:
        return Finding("True", plan.stopped.reason, plan.stopped.message)
    if plan.stopped is not None:
        return Finding("False", plan.stopped.reason, "Nothing moves until what is wrong is mended.")
    if now.stalled:
        return Finding(
            "False", "Stalled", f"The rollout makes no progress: {now.stalled}. {listed(now.unready)}".strip()
        )
    if gap and plan.hold:
        message = f"The Deployment is not what the spec asks for ({gap}), and nothing is changed while it is paused."
        return Finding("False", "ChangesWait", message)
    if gap:
        return Finding("False", "DriftRemains", _remains(gap))
    if now.exists and not now.seen:
        return Finding("True", "RollingOut", "The cluster's Deployment controller has not seen the last change yet.")
    if not now.settled or (not now.completed and now.ready < now.desired):
        message = f"{now.updated} of {now.desired} pods are made as the spec asks for. {listed(now.unready)}"
        return Finding("True", "RollingOut", message.strip())
    if now.ready < now.desired:
        message = f"All pods run what the spec asks for; {now.ready} of {now.desired} serve. {listed(now.unready)}"
        return Finding("False", "RolledOut", message.strip())
    return Finding("False", "RolledOut", "All pods run what the spec asks for.")


def degraded(plan: Plan, now: Rollout, refusal: str, gap: str, unscaled: str) -> Finding:
    """Say whether something is wrong that a person may have to mend.

    Args:
        plan: what was found.
        now: where the Deployment stands.
        refusal: what the API server would not do; empty: nothing.
        gap: as for `progressing`.
        unscaled: why the autoscaler does not scale; empty: it does, or there is none.
    """
    if refusal:
        return Finding("True", "ApplyRefused", refusal)
    if plan.stopped is not None and plan.holds_back:
        return Finding("True", plan.stopped.reason, plan.stopped.message)
    if now.stalled:
        return Finding(
            "True", "Stalled", f"The rollout makes no progress: {now.stalled}. {listed(now.unready)}".strip()
        )
    if gap and not plan.hold:
        return Finding("True", "DriftRemains", _remains(gap))
    fallen = now.completed and now.settled and not now.starting and now.ready < now.desired
    if now.exists and (now.trouble or fallen):  # trouble also where the old pods of a rollout still serve
        return Finding("True", "PodsNotReady", listed(now.unready) or "Some pods do not serve.")
    if now.exists and unscaled:
        return Finding("True", "NotScaling", unscaled)
    if plan.stopped is not None or (now.exists and now.ready < now.desired):
        return Finding("False", "UnderWay", "It is on its way; Progressing says how far.")
    return Finding("False", "AsExpected", "Nothing is wrong.")


def ready(plan: Plan, now: Rollout, refusal: str, gap: str) -> Finding:
    """Say whether the service is what the spec asks for, and serves."""
    if refusal:
        return Finding("False", "ApplyRefused", refusal)
    if plan.stopped is not None:
        return Finding("False", plan.stopped.reason, plan.stopped.message)
    serving = available(now)
    if serving.status != "True":
        return Finding("False", serving.reason, serving.message)
    moving = progressing(plan, now, gap)
    if gap or not now.settled or now.stalled:
        return Finding("False", moving.reason, moving.message)
    if now.ready < now.desired:
        return Finding("False", serving.reason, serving.message)
    return Finding("True", "Serving", serving.message)


def _remains(gap: str) -> str:
    return (
        f"The Deployment was applied and still is not what the spec asks for ({gap}); look for an admission webhook or "
        "another controller that changes it."
    )
