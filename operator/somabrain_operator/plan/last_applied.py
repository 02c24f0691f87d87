"""Last applied children, which stay applied while a step halts: those of the last plan that passed all steps.

A migration may fail for hours, or a Secret be missing; an edit or deletion of the Deployment meanwhile must not take
the service down. The number of pods still follows the spec, so that it can be scaled.
"""

from __future__ import annotations

from dataclasses import replace

from somabrain_operator.kube.children import last_applied_id
from somabrain_operator.kube.names import MCP, child_id
from somabrain_operator.kube.objects import Manifest, number, text
from somabrain_operator.kube.owner import belongs_to
from somabrain_operator.plan.ownership import add_children
from somabrain_operator.plan.plan import Plan
from somabrain_operator.render.autoscaling import desired_replicas, replica_bounds
from somabrain_operator.render.deployment import with_replicas
from somabrain_operator.render.last_applied import parse_last_applied, render_last_applied
from somabrain_operator.render.mcp import mcp_replicas


def last_applied(plan: Plan) -> tuple[Manifest, ...]:
    """Return the children that were applied when all steps last passed."""
    record = plan.observed.children.get(last_applied_id(plan.owner.key.name))
    return parse_last_applied(record, plan.owner, text(plan.observed.brain.status, "lastAppliedHash"))


def record_last_applied(plan: Plan) -> Plan:
    """Return a plan that passed with its own record, which is written first: later writes may be interrupted.

    If an object of another owner has the record's name, the plan is halted without a record.
    """
    recorded = add_children(replace(plan, apply=()), (render_last_applied(plan.owner, plan.apply),))
    return replace(recorded, apply=(*recorded.apply, *plan.apply))


def retain_last_applied(plan: Plan) -> Plan:
    """Return a halted plan with the last applied children that it does not itself apply or delete."""
    previous = last_applied(plan)
    planned = {child_id(each) for each in plan.apply} | set(plan.delete)
    retained = tuple(
        _with_current_replicas(plan, each, previous)
        for each in previous
        if child_id(each) not in planned and _can_retain(plan, each)
    )
    return replace(plan, apply=plan.apply + retained)


def _can_retain(plan: Plan, manifest: Manifest) -> bool:
    live = plan.observed.children.get(child_id(manifest))
    kind_exists = text(manifest, "kind") not in plan.observed.missing_kinds
    return kind_exists and (live is None or belongs_to(live, plan.owner))


def _with_current_replicas(plan: Plan, manifest: Manifest, previous: tuple[Manifest, ...]) -> Manifest:
    identity = child_id(manifest)
    if identity.kind != "Deployment":
        return manifest
    live, spec = plan.observed.children.get(identity), plan.observed.brain.spec
    current = number(live, "spec", "replicas") if live else 1
    if identity.name == plan.owner.child(MCP):
        return with_replicas(manifest, mcp_replicas(spec, spec.mcp) if spec and spec.mcp else current)
    replicas = spec.replicas if spec else current
    return with_replicas(manifest, desired_replicas(replicas, replica_bounds(previous), live))
