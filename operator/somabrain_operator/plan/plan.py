"""The values that the steps of the plan read and make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.model.status import ConditionStatus, ConditionType, MigrationStatus
from somabrain_operator.names import ChildId
from somabrain_operator.objects import Manifest
from somabrain_operator.observed_state import ObservedState, OperatorDefaults
from somabrain_operator.render.metadata import Owner


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """What a step found, for one condition."""

    status: ConditionStatus
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, and what was found on the way."""

    observed: ObservedState
    release: OperatorDefaults
    owner: Owner
    image: str = ""
    """The image that the spec asks for."""
    config_hash: str = ""
    """Of settings, policy and used secrets; empty until they are known."""
    apply: tuple[Manifest, ...] = ()
    """In this order."""
    delete: tuple[ChildId, ...] = ()
    conditions: Mapping[ConditionType, ConditionResult] = field(default_factory=dict)
    migration: MigrationStatus | None = None
    halted_by: ConditionResult | None = None
    """Why the steps after did not run; None: all ran."""
    paused: bool = False
    """Look and report, and change nothing."""
    requeue_after_s: float | None = None
    """When time alone changes what is to be done; None: only an event does."""
    deployment: Manifest | None = None
    """As rendered, once the steps came so far."""
    failed: bool = False
    """The stop is a failure, and not only something to wait for."""


def halt(plan: Plan, condition: ConditionType, result: ConditionResult) -> Plan:
    """Return the plan with a failure that keeps the steps after from running."""
    conditions = {**plan.conditions, condition: result}
    return replace(plan, conditions=conditions, halted_by=result, failed=True)


def with_condition(plan: Plan, condition: ConditionType, result: ConditionResult) -> Plan:
    """Return the plan with one finding more."""
    return replace(plan, conditions={**plan.conditions, condition: result})


def vault_image(spec: SomaBrainSpec, release: OperatorDefaults) -> str:
    """Return the image of Vault's agent."""
    return (spec.vault.image if spec.vault else None) or release.vault_image
