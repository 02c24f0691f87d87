"""Steps of the plan, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.names import FINALIZER
from somabrain_operator.kube.owner import Owner
from somabrain_operator.observe.state import ObservedState, OperatorDefaults
from somabrain_operator.plan.children import (
    add_autoscaler,
    add_base_objects,
    add_deployment,
    add_disruption_budget_and_network_policy,
    prune,
)
from somabrain_operator.plan.last_applied import record_last_applied, retain_last_applied
from somabrain_operator.plan.mcp import add_mcp
from somabrain_operator.plan.migration import migrate, parse_migration_status
from somabrain_operator.plan.monitoring import add_monitoring
from somabrain_operator.plan.plan import ConditionResult, Plan, halt, with_condition
from somabrain_operator.plan.provision import parse_provision_status, provision_database
from somabrain_operator.plan.references import resolve_references
from somabrain_operator.plan.validate_spec import check_version, validate_spec

Step: TypeAlias = Callable[[Plan, SomaBrainSpec], Plan]


def make_plan(observed: ObservedState, release: OperatorDefaults) -> Plan:
    """Return the plan for the observed state."""
    brain = observed.brain
    plan = Plan(
        observed,
        release,
        Owner(brain.key, brain.uid),
        migration=parse_migration_status(brain.status),
        provision=parse_provision_status(brain.status) if observed.database is not None else None,
        finalizer=FINALIZER in brain.finalizers,
    )
    if brain.spec is None:
        return retain_last_applied(halt(plan, "ConfigValid", ConditionResult("False", "Invalid", brain.problem)))
    for step in STEPS:
        plan = step(plan, brain.spec)
        if plan.halted_by:
            break
    plan = retain_last_applied(plan) if plan.halted_by else record_last_applied(plan)
    return replace(plan, apply=(), delete=(), secret=None) if plan.paused else plan


def pause(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Mark the plan as paused if the spec requests it; the steps still run, so that the status stays current."""
    if spec.paused:
        message = "spec.paused is true: nothing is changed until it is false."
        return replace(with_condition(plan, "Paused", ConditionResult("True", "Paused", message)), paused=True)
    return with_condition(plan, "Paused", ConditionResult("False", "Running", "spec.paused is false."))


STEPS: Final[tuple[Step, ...]] = (
    pause,  # first: a paused resource is observed and never written
    validate_spec,  # before anything is read for it
    check_version,  # before the database is migrated for it
    resolve_references,  # pods without their Secret would never start
    add_base_objects,  # the migration's pod needs its identity
    provision_database,  # a migration needs its database
    migrate,  # the pods must not be newer than the schema
    add_deployment,
    add_autoscaler,  # after the Deployment that it scales
    add_disruption_budget_and_network_policy,
    add_mcp,  # after the servers, whose client it is
    add_monitoring,
    prune,  # last: an object is deleted after its replacement exists
)
