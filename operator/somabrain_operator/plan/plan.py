"""Plan, and the values that its steps read and return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.api.v1alpha1.status import ConditionStatus, ConditionType, MigrationStatus, ProvisionStatus
from somabrain_operator.kube.names import ChildId
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.kube.owner import Owner
from somabrain_operator.observe.state import ObservedState, OperatorDefaults


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """Result of a step for one condition."""

    status: ConditionStatus
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Objects to apply and delete, and the results of the steps so far."""

    observed: ObservedState
    release: OperatorDefaults
    owner: Owner
    image: str = ""
    """Service image according to the spec."""
    config_hash: str = ""
    """Hash of all that a server reads only at startup (`names.CONFIG_HASH`); empty until it is known."""
    apply: tuple[Manifest, ...] = ()
    """Manifests to apply, in this order."""
    delete: tuple[ChildId, ...] = ()
    conditions: Mapping[ConditionType, ConditionResult] = field(default_factory=dict)
    migration: MigrationStatus | None = None
    provision: ProvisionStatus | None = None
    secret: Manifest | None = field(default=None, repr=False)
    """Secret of the database to write before anything else."""
    finalizer: bool = False
    """True if the database is dropped with the SomaBrain, which therefore has a finalizer."""
    database_failure: str = ""
    """Reason for which a database whose former connection strings work could not be changed; empty: it could."""
    halted_by: ConditionResult | None = None
    """Result of the step that halted the plan; None: all steps ran."""
    paused: bool = False
    """True if nothing may be written but the status."""
    requeue_after_s: float | None = None
    """Seconds after which time alone changes the plan; None: only an event does."""
    deployment: Manifest | None = None
    """Rendered Deployment, once its step has run."""
    mcp_deployment: Manifest | None = None
    """Rendered Deployment of the MCP server, once its step has run; None as well without `spec.mcp`."""
    budget_overlap: str = ""
    """Overlap of others' PodDisruptionBudgets with the one of the spec, as a sentence; empty: no overlap."""
    failed: bool = False
    """True if the plan halted because of a failure, not only to wait."""
    transient: bool = False
    """True if that failure may end without a change of this resource: by a Secret, a database or a quota."""


def halt(plan: Plan, condition: ConditionType, result: ConditionResult, *, transient: bool = False) -> Plan:
    """Return the plan halted by a failure of this condition: later steps do not run."""
    conditions = {**plan.conditions, condition: result}
    return replace(plan, conditions=conditions, halted_by=result, failed=True, transient=transient)


def with_condition(plan: Plan, condition: ConditionType, result: ConditionResult) -> Plan:
    """Return the plan with the result of one more condition."""
    return replace(plan, conditions={**plan.conditions, condition: result})


def vault_image(spec: SomaBrainSpec, release: OperatorDefaults) -> str:
    """Return the image of Vault's agent."""
    return (spec.vault.image if spec.vault else None) or release.vault_image
