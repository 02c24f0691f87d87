"""What holds on while a step does not pass: everything that was applied when all of them last did.

A migration may fail for hours, or a Secret be missing; whoever edits the Deployment meanwhile, or deletes it, must not
find the service gone. How many pods there are is still as the spec says, so that it can be scaled.
"""

from __future__ import annotations

from dataclasses import replace

from somabrain_operator.names import SERVER, ChildId, child_id
from somabrain_operator.plan.values import Plan
from somabrain_operator.render.applied import APPLIED, applied_before, render_applied
from somabrain_operator.render.deployment import scaled
from somabrain_operator.render.metadata import owned
from somabrain_operator.render.scaling import bounds_of, replicas_to_apply
from somabrain_operator.tree import Manifest, number, text


def record_id(brain: str) -> ChildId:
    """Return the child that remembers what was applied."""
    return ChildId("ConfigMap", f"{brain}-{APPLIED}")


def recorded(plan: Plan) -> tuple[Manifest, ...]:
    """Return what was applied when all steps last passed."""
    return applied_before(plan.observed.children.get(record_id(plan.owner.key.name)), plan.owner)


def remember(plan: Plan) -> Plan:
    """Return a plan that passed with its own record, which is written first: what follows may be cut off."""
    return replace(plan, apply=(render_applied(plan.owner, plan.apply), *plan.apply))


def keep(plan: Plan) -> Plan:
    """Return a plan that stopped with what it does not speak of as it was."""
    before = recorded(plan)
    spoken = {child_id(each) for each in plan.apply} | set(plan.delete)
    kept = tuple(
        _with_replicas(plan, each, before) for each in before if child_id(each) not in spoken and _is_free(plan, each)
    )
    return replace(plan, apply=plan.apply + kept)


def _is_free(plan: Plan, manifest: Manifest) -> bool:
    live = plan.observed.children.get(child_id(manifest))
    there = text(manifest, "kind") not in plan.observed.lacking
    return there and (live is None or owned(live, plan.owner))


def _with_replicas(plan: Plan, manifest: Manifest, before: tuple[Manifest, ...]) -> Manifest:
    identity = child_id(manifest)
    if identity != ChildId("Deployment", plan.owner.child(SERVER)):
        return manifest
    live, spec = plan.observed.children.get(identity), plan.observed.brain.spec
    wanted = spec.replicas if spec else number(live, "spec", "replicas") if live else 1
    return scaled(manifest, replicas_to_apply(wanted, bounds_of(before), live))
