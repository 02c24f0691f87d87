"""Adds children to a plan, unless somebody else has their name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from somabrain_operator.names import child_id
from somabrain_operator.plan.values import Finding, Plan, stop
from somabrain_operator.render.metadata import brain_of, owned
from somabrain_operator.tree import Manifest


def ask(plan: Plan, manifests: Iterable[Manifest]) -> Plan:
    """Add children to the plan, unless one of their names is taken by an object that is not ours."""
    wanted = tuple(manifests)
    for manifest in wanted:
        identity = child_id(manifest)
        live = plan.observed.children.get(identity)
        if live is not None and brain_of(live) == plan.owner.key.name and not owned(live, plan.owner):
            message = f"{identity.kind} {identity.name} is of an earlier resource of this name, and goes with it."
            finding = Finding("True", "Replacing", message)
            return replace(plan, stopped=finding)  # its deletion is an event, which wakes this resource
        if live is not None and not owned(live, plan.owner):
            message = (
                f"{identity.kind} {identity.name} exists and does not belong to this resource; "
                "delete it, or give this resource another name."
            )
            return stop(plan, "Degraded", Finding("True", "NameTaken", message))
    return replace(plan, apply=plan.apply + wanted)
