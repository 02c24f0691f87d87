"""Addition of children to a plan, with checks for name conflicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from somabrain_operator.kube.names import child_id
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.kube.owner import belongs_to, is_owned_by, owner_name
from somabrain_operator.plan.plan import ConditionResult, Plan, halt

NAME_CHECK_INTERVAL_S: Final = 10.0
"""Seconds between checks whether a taken name is free: an object without our label is not watched."""


def add_children(plan: Plan, manifests: Iterable[Manifest]) -> Plan:
    """Add children to the plan, or halt it if an object of another owner has one of their names.

    An orphan, which an earlier resource of this name left, is adopted: applying it makes this resource its owner.
    """
    children = tuple(manifests)
    for manifest in children:
        identity = child_id(manifest)
        live = plan.observed.children.get(identity)
        if live is not None and owner_name(live) == plan.owner.key.name and not is_owned_by(live, plan.owner):
            message = (
                f"{identity.kind} {identity.name} belongs to an earlier resource of this name and is deleted with it."
            )
            result = ConditionResult("True", "Replacing", message)
            return replace(plan, halted_by=result)  # the event of its deletion enqueues this resource
        if live is not None and not belongs_to(live, plan.owner):
            message = (
                f"{identity.kind} {identity.name} exists and does not belong to this resource; "
                "delete it, or give this resource another name."
            )
            halted = halt(plan, "Degraded", ConditionResult("True", "NameTaken", message))
            return replace(halted, requeue_after_s=NAME_CHECK_INTERVAL_S)
    return replace(plan, apply=plan.apply + children)
