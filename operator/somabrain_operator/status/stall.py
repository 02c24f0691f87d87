"""Conditions Reconciling and Stalled, by which kstatus (kpt, Flux, Helm 4) and Argo CD decide whether to go on waiting.

Neither is True if the resource is Ready, else exactly one is. What operator or cluster are doing, and what others may
still bring, such as a Secret that does not exist yet, is Reconciling. What no waiting mends is Stalled at once, and
what others have not brought after `stall_after_s` is Stalled then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from somabrain_operator.kube import timestamps
from somabrain_operator.kube.objects import Manifest, condition, number, text
from somabrain_operator.plan.plan import ConditionResult, Plan
from somabrain_operator.status.rollout import Rollout

_PAUSED_REASONS: Final = frozenset({"Paused", "ChangesWait"})


@dataclass(frozen=True, slots=True)
class Outlook:
    """Conditions that say whether waiting for Ready makes sense."""

    reconciling: ConditionResult
    stalled: ConditionResult
    failing_since: datetime | None
    """Time of the first failure since this generation was observed or was last Ready."""


def judge(
    plan: Plan, rollouts: tuple[Rollout, ...], ready: ConditionResult, degraded: ConditionResult, *, refused: bool
) -> Outlook:
    """Return whether waiting for Ready makes sense.

    Args:
        plan: the plan.
        rollouts: states of the Deployments.
        ready: the condition Ready.
        degraded: the condition Degraded.
        refused: True if the API server refused a write.
    """
    if ready.status == "True":
        calm = ConditionResult("False", ready.reason, "Nothing is in progress.")
        return Outlook(calm, ConditionResult("False", ready.reason, "Nothing waits for a person."), None)
    since = _failing_since(plan)
    if plan.paused and ready.reason in _PAUSED_REASONS:
        return _stalled(ready, since)
    # Until a Deployment is applied and its controller has observed that, its failures are those of an earlier spec.
    is_applied = plan.halted_by is None and all(each.generation_observed for each in rollouts)
    if not (refused or plan.failed or (is_applied and degraded.status == "True")):
        return _reconciling(ready, since)
    since = since or plan.observed.now
    is_permanent = not refused and (
        not plan.transient if plan.failed else any(each.deadline_exceeded for each in rollouts)
    )
    if is_permanent or plan.observed.now - since >= _patience(plan):
        return _stalled(degraded, since)
    return _reconciling(degraded, since)


def stalls_after_s(plan: Plan, status: Manifest) -> float | None:
    """Return the seconds after which a failure that is Reconciling becomes Stalled; None if none does.

    Args:
        plan: the plan.
        status: the status that was rendered of it.
    """
    since = timestamps.parse(text(status, "failingSince"))
    if since is None or text(condition({"status": status}, "Stalled"), "status") == "True":
        return None
    return max(0.0, (since + _patience(plan) - plan.observed.now).total_seconds())


def _failing_since(plan: Plan) -> datetime | None:
    """Return the time that the status has for this generation: a new spec may mend what failed."""
    status = plan.observed.brain.status
    if number(status, "observedGeneration") != plan.observed.brain.generation:
        return None
    return timestamps.parse(text(status, "failingSince"))


def _stalled(cause: ConditionResult, since: datetime | None) -> Outlook:
    reconciling = ConditionResult("False", cause.reason, "Waiting does not help; see the condition Stalled.")
    return Outlook(reconciling, ConditionResult("True", cause.reason, cause.message), since)


def _reconciling(cause: ConditionResult, since: datetime | None) -> Outlook:
    stalled = ConditionResult("False", cause.reason, "Nothing waits for a person yet; see the condition Reconciling.")
    return Outlook(ConditionResult("True", cause.reason, cause.message), stalled, since)


def _patience(plan: Plan) -> timedelta:
    return timedelta(seconds=plan.release.stall_after_s)
