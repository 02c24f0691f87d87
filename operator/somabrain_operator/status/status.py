"""Rendering of the status: numbers, the migration record, and every condition with its generation and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from somabrain_operator.api.v1alpha1.grpc import Grpc
from somabrain_operator.api.v1alpha1.status import Condition, ConditionType, Phase, SomaBrainStatus
from somabrain_operator.diff.subset import format_path
from somabrain_operator.kube import timestamps
from somabrain_operator.kube.children import last_applied_id
from somabrain_operator.kube.names import MCP, SERVER, ChildId, child_id, selector
from somabrain_operator.kube.objects import Json, Manifest, items, text
from somabrain_operator.kube.owner import belongs_to
from somabrain_operator.plan.drift import reverted_drift
from somabrain_operator.plan.plan import ConditionResult, Plan
from somabrain_operator.render.base import endpoint
from somabrain_operator.render.last_applied import last_applied_hash
from somabrain_operator.render.mcp import mcp_endpoint
from somabrain_operator.render.metadata import rendered_hash
from somabrain_operator.status import conditions, mcp
from somabrain_operator.status.autoscaling import autoscaler_failure
from somabrain_operator.status.mcp import McpState
from somabrain_operator.status.rollout import Rollout, read_rollout, running_image
from somabrain_operator.status.stall import judge

MAX_MESSAGE_LENGTH: Final = 2000


def render_status(plan: Plan, children: Mapping[ChildId, Manifest], refusal: str = "") -> Mapping[str, Json]:
    """Return the status to write to the API server.

    Args:
        plan: the plan.
        children: live objects after it was applied.
        refusal: error message of a write that the API server refused; empty if none.
    """
    observed, brain = plan.observed, plan.observed.brain
    live = _live_deployment(plan, children, SERVER)
    secrets = tuple(secret for each in observed.references for secret in each.secrets)
    current_rollout = read_rollout(live, observed.pods, brain.spec, dict(observed.reports), secrets)
    deployment_drift = _deployment_drift(plan, plan.deployment, live)
    mcp_state = _mcp_state(plan, children, secrets)
    remaining_drift = deployment_drift or ("" if refusal else _other_drift(plan, children))
    autoscaler = children.get(ChildId("HorizontalPodAutoscaler", plan.owner.child(SERVER)))
    scaling_failure = autoscaler_failure(autoscaler) if brain.spec and brain.spec.autoscaling else ""
    degraded = conditions.degraded(plan, current_rollout, refusal, remaining_drift, scaling_failure)
    degraded = mcp.degraded(plan, degraded, mcp_state)
    ready = mcp.ready(plan, conditions.ready(plan, current_rollout, refusal, deployment_drift), mcp_state)
    progressing = mcp.progressing(plan, conditions.progressing(plan, current_rollout, deployment_drift), mcp_state)
    rollouts = (current_rollout, *((mcp_state.rollout,) if mcp_state else ()))
    outlook = judge(plan, rollouts, ready, degraded, refused=bool(refusal))
    results: dict[ConditionType, ConditionResult] = {
        **_not_reached(provisions=observed.database is not None),
        **plan.conditions,
        "Available": conditions.available(current_rollout),
        "Progressing": progressing,
        "Degraded": degraded,
        "Ready": ready,
        "Reconciling": outlook.reconciling,
        "Stalled": outlook.stalled,
    }
    if mcp_state is None:
        del results["McpAvailable"]
    else:
        results["McpAvailable"] = conditions.available(mcp_state.rollout)
    status = SomaBrainStatus(
        observed_generation=brain.generation,
        phase=_phase(plan, current_rollout, results),
        version=_display_version(plan, running_image(observed.pods) if current_rollout.replicas else ""),
        target_version=_display_version(plan, plan.image),
        replicas=current_rollout.replicas,
        ready_replicas=current_rollout.ready,
        updated_replicas=current_rollout.updated,
        selector=",".join(f"{key}={value}" for key, value in selector(brain.key.name, SERVER).items()),
        endpoint=endpoint(plan.owner, (brain.spec.grpc if brain.spec else Grpc()).port),
        mcp_endpoint=mcp_endpoint(plan.owner, brain.spec.mcp) if brain.spec and brain.spec.mcp else None,
        config_hash=plan.config_hash or None,
        last_applied_hash=_last_applied_hash(plan, children) or None,
        migration=plan.migration,
        provision=plan.provision,
        failing_since=timestamps.iso(outlook.failing_since) if outlook.failing_since else None,
        conditions=tuple(
            _condition(kind, results[kind], plan) for kind in conditions.CONDITION_ORDER if kind in results
        ),
    )
    return status.model_dump(by_alias=True, exclude_none=True, mode="json")


def render_deletion_status(plan: Plan) -> Mapping[str, Json]:
    """Return the status of a SomaBrain that waits until its database is dropped: as before, with that condition."""
    before = plan.observed.brain.status
    result = plan.conditions["Provisioned"]
    current = _condition("Provisioned", result, plan).model_dump(by_alias=True, mode="json")
    others = [each for each in items(before, "conditions") if text(each, "type") != "Provisioned"]
    record = plan.provision.model_dump(by_alias=True, exclude_none=True, mode="json") if plan.provision else {}
    return {**before, "provision": record, "conditions": [*others, current]}


def _live_deployment(plan: Plan, children: Mapping[ChildId, Manifest], component: str) -> Manifest | None:
    """Return a component's live Deployment if it is this SomaBrain's."""
    live = children.get(ChildId("Deployment", plan.owner.child(component)))
    return live if live is not None and belongs_to(live, plan.owner) else None


def _mcp_state(plan: Plan, children: Mapping[ChildId, Manifest], secrets: tuple[str, ...]) -> McpState | None:
    """Return the state of the MCP server, or None if the spec has none and none is left."""
    observed, spec = plan.observed, plan.observed.brain.spec
    live = _live_deployment(plan, children, MCP)
    if live is None and (spec is None or spec.mcp is None):
        return None
    rollout = read_rollout(live, observed.pods, spec, dict(observed.reports), secrets, MCP)
    return McpState(rollout, _deployment_drift(plan, plan.mcp_deployment, live))


def _deployment_drift(plan: Plan, rendered: Manifest | None, live: Manifest | None) -> str:
    """Return how a live Deployment differs from the rendered one, or an empty string."""
    if rendered is None:
        return ""
    return _drift_message(plan, rendered, live) if live is not None else "The Deployment does not exist."


def _other_drift(plan: Plan, children: Mapping[ChildId, Manifest]) -> str:
    """Return how the first child that was written and still differs from its manifest does, or an empty string."""
    for manifest in plan.apply:
        live = children.get(child_id(manifest))
        if live is None or live is plan.observed.children.get(child_id(manifest)) or text(manifest, "kind") == "Job":
            continue  # one that was not written did not differ
        if message := _drift_message(plan, manifest, live):
            return message
    return ""


def _drift_message(plan: Plan, manifest: Manifest, live: Manifest) -> str:
    differences = reverted_drift(plan, manifest, live)
    if not differences:
        return ""
    kind, name, first = text(manifest, "kind"), text(manifest, "metadata", "name"), differences[0]
    if plan.paused:
        return f"The {kind} {name} differs from the spec ({first}), and nothing is changed while it is paused."
    entry = f"{kind} {format_path(first.path)}"
    return (
        f"The {kind} {name} was applied and still differs from the spec ({first}); look for an admission webhook or "
        f"another controller that changes it, and stop it, or add '{entry}' to spec.ignoreDifferences to accept that."
    )


def _last_applied_hash(plan: Plan, children: Mapping[ChildId, Manifest]) -> str:
    """Return the hash of the record of last-applied children if this plan has written it, or else the previous one."""
    identity = last_applied_id(plan.owner.key.name)
    written = next((each for each in plan.apply if child_id(each) == identity), None)
    if written is None or rendered_hash(written) != rendered_hash(children.get(identity, {})):
        return text(plan.observed.brain.status, "lastAppliedHash")
    return last_applied_hash(written)


def _display_version(plan: Plan, image: str) -> str | None:
    """Return the tag of an image of the operator's repository, another image unchanged, or None if it is empty."""
    return image.removeprefix(f"{plan.release.service_repository}:") or None


def _not_reached(*, provisions: bool) -> dict[ConditionType, ConditionResult]:
    """Return the conditions of steps that did not run; Provisioned only if the spec has a database made."""
    result = ConditionResult("Unknown", "NotReached", "Not checked: an earlier step halted; see the other conditions.")
    kinds = [each for each in conditions.CONDITION_ORDER if provisions or each != "Provisioned"]
    return dict.fromkeys(kinds, result)


def _condition(kind: ConditionType, result: ConditionResult, plan: Plan) -> Condition:
    """Return the condition; its transition time stays while its status stays."""
    previous = next(
        (each for each in items(plan.observed.brain.status, "conditions") if text(each, "type") == kind), None
    )
    last_transition = text(previous, "lastTransitionTime") if text(previous, "status") == result.status else ""
    return Condition(
        type=kind,
        status=result.status,
        reason=result.reason,
        message=result.message[:MAX_MESSAGE_LENGTH],
        observed_generation=plan.observed.brain.generation,
        last_transition_time=last_transition or timestamps.iso(plan.observed.now),
    )


def _phase(plan: Plan, current_rollout: Rollout, results: Mapping[ConditionType, ConditionResult]) -> Phase:
    if plan.paused:
        return "Paused"
    if results["ConfigValid"].status == "False":
        return "Invalid"
    if results["Degraded"].status == "True":
        return (
            "Waiting" if results["ReferencesResolved"].status == "False" and not current_rollout.exists else "Degraded"
        )
    if "Provisioned" in results and results["Provisioned"].status == "False" and plan.halted_by is not None:
        return "Provisioning"
    if results["Migrated"].status == "False":
        return "Migrating"
    if current_rollout.exists and current_rollout.desired == 0 and current_rollout.all_updated:
        return "Hibernated"
    return "Ready" if results["Ready"].status == "True" else "RollingOut"
