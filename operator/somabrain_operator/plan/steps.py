"""The steps, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.observed import Observed, Release
from somabrain_operator.plan.children import autoscale, base_objects, protect, prune, serve
from somabrain_operator.plan.config import check_config, check_version
from somabrain_operator.plan.keeping import keep, remember
from somabrain_operator.plan.migration import migrate, remembered
from somabrain_operator.plan.monitoring import monitor
from somabrain_operator.plan.references import resolve_references
from somabrain_operator.plan.values import Finding, Plan, passed, stop
from somabrain_operator.render.metadata import Owner

Step: TypeAlias = Callable[[Plan, SomaBrainSpec], Plan]


def make_plan(observed: Observed, release: Release) -> Plan:
    """Return what is to be done about what was observed."""
    brain = observed.brain
    plan = Plan(observed, release, Owner(brain.key, brain.uid), migration=remembered(brain.status))
    if brain.spec is None:
        return keep(stop(plan, "ConfigValid", Finding("False", "Invalid", brain.problem)))
    for step in STEPS:
        plan = step(plan, brain.spec)
        if plan.stopped:
            break
    plan = keep(plan) if plan.stopped else remember(plan)
    return replace(plan, apply=(), delete=()) if plan.hold else plan


def pause(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Hold all writes while the resource is paused; the steps still run, so that the status stays true."""
    if spec.paused:
        message = "spec.paused is true: nothing is changed until it is false."
        return replace(passed(plan, "Paused", Finding("True", "Paused", message)), hold=True)
    return passed(plan, "Paused", Finding("False", "Running", "spec.paused is false."))


STEPS: Final[tuple[Step, ...]] = (
    pause,  # first: a paused resource is looked at and never written
    check_config,  # before anything is read for it
    check_version,  # before the database is migrated for it
    resolve_references,  # pods without their Secret would only hang
    base_objects,  # the migration's pod needs its identity
    migrate,  # the pods must not be newer than the schema
    serve,
    autoscale,  # once there is what it scales
    protect,
    monitor,
    prune,  # last: what is replaced goes after its replacement is there
)
