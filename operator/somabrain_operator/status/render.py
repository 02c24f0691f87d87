"""Puts the status together: numbers, the migration's record, and every condition with its generation and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from somabrain_operator import moments
from somabrain_operator.diff.foreign import drift
from somabrain_operator.model.grpc import Grpc
from somabrain_operator.model.status import Condition, ConditionType, Phase, SomaBrainStatus
from somabrain_operator.names import SERVER, ChildId, selector
from somabrain_operator.plan.values import Finding, Plan
from somabrain_operator.render.base import endpoint
from somabrain_operator.render.metadata import owned
from somabrain_operator.status import conditions
from somabrain_operator.status.rollout import Rollout, rollout, running_image
from somabrain_operator.status.scaling import not_scaling
from somabrain_operator.tree import Json, Manifest, items, text

LONGEST_MESSAGE: Final = 2000


def render_status(plan: Plan, children: Mapping[ChildId, Manifest], refusal: str = "") -> Mapping[str, Json]:
    """Return the status as the API server is to hold it.

    Args:
        plan: what was found and what was to be done.
        children: live objects after it was done.
        refusal: what the API server would not do; empty: nothing.
    """
    observed, brain = plan.observed, plan.observed.brain
    live = children.get(ChildId("Deployment", plan.owner.child(SERVER)))
    live = live if live is not None and owned(live, plan.owner) else None
    secrets = tuple(secret for each in observed.references for secret in each.secrets)
    now = rollout(live, observed.pods, brain.spec, dict(observed.reports), secrets)
    gap = _gap(plan.deployment, live)
    autoscaler = children.get(ChildId("HorizontalPodAutoscaler", plan.owner.child(SERVER)))
    unscaled = not_scaling(autoscaler) if brain.spec and brain.spec.autoscaling else ""
    findings: dict[ConditionType, Finding] = {
        **_unseen(),
        **plan.findings,
        "Available": conditions.available(now),
        "Progressing": conditions.progressing(plan, now, gap),
        "Degraded": conditions.degraded(plan, now, refusal, gap, unscaled),
        "Ready": conditions.ready(plan, now, refusal, gap),
    }
    status = SomaBrainStatus(
        observed_generation=brain.generation,
        phase=_phase(plan, now, findings),
        version=_release(plan, running_image(observed.pods) if now.replicas else ""),
        target_version=_release(plan, plan.image),
        replicas=now.replicas,
        ready_replicas=now.ready,
        updated_replicas=now.updated,
        selector=",".join(f"{key}={value}" for key, value in selector(brain.key.name, SERVER).items()),
        endpoint=endpoint(plan.owner, (brain.spec.grpc if brain.spec else Grpc()).port),
        config_hash=plan.config_hash or None,
        migration=plan.migration,
        conditions=tuple(_condition(kind, findings[kind], plan) for kind in conditions.ORDER),
    )
    return status.model_dump(by_alias=True, exclude_none=True, mode="json")


def _gap(rendered: Manifest | None, live: Manifest | None) -> str:
    """Return where the live Deployment is not as rendered, or an empty string."""
    if rendered is None:
        return ""
    if live is None:
        return "it does not exist"
    found = drift(rendered, live)
    return str(found[0]) if found else ""


def _release(plan: Plan, image: str) -> str | None:
    """Return an image of the operator's repository by its tag alone, another one whole, and None for none."""
    return image.removeprefix(f"{plan.release.service_repository}:") or None


def _unseen() -> dict[ConditionType, Finding]:
    """Return the findings of steps that did not run."""
    unseen = Finding("Unknown", "NotReached", "Not looked at: what the other conditions say comes first.")
    return {"ConfigValid": unseen, "ReferencesResolved": unseen, "Migrated": unseen, "Paused": unseen}


def _condition(kind: ConditionType, finding: Finding, plan: Plan) -> Condition:
    """Return the condition; its time is kept while its status is."""
    before = next(
        (each for each in items(plan.observed.brain.status, "conditions") if text(each, "type") == kind), None
    )
    since = text(before, "lastTransitionTime") if text(before, "status") == finding.status else ""
    return Condition(
        type=kind,
        status=finding.status,
        reason=finding.reason,
        message=finding.message[:LONGEST_MESSAGE],
        observed_generation=plan.observed.brain.generation,
        last_transition_time=since or moments.iso(plan.observed.now),
    )


def _phase(plan: Plan, now: Rollout, findings: Mapping[ConditionType, Finding]) -> Phase:
    if plan.hold:
        return "Paused"
    if findings["ConfigValid"].status == "False":
        return "Invalid"
    if findings["Degraded"].status == "True":
        return "Waiting" if findings["ReferencesResolved"].status == "False" and not now.exists else "Degraded"
    if findings["Migrated"].status == "False":
        return "Migrating"
    if now.exists and now.desired == 0 and now.settled:
        return "Hibernated"
    return "Ready" if findings["Ready"].status == "True" else "RollingOut"
