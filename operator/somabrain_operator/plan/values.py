"""The values that the steps of the plan read and make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.model.status import ConditionType, MigrationStatus, Truth
from somabrain_operator.names import ChildId
from somabrain_operator.observed import Observed, Release
from somabrain_operator.render.metadata import Owner
from somabrain_operator.tree import Manifest


@dataclass(frozen=True, slots=True)
class Finding:
    """What a step found, for one condition."""

    status: Truth
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, and what was found on the way."""

    observed: Observed
    release: Release
    owner: Owner
    image: str = ""
    """The image that the spec asks for."""
    config_hash: str = ""
    """Of settings, policy and used secrets; empty until they are known."""
    apply: tuple[Manifest, ...] = ()
    """In this order."""
    delete: tuple[ChildId, ...] = ()
    findings: Mapping[ConditionType, Finding] = field(default_factory=dict)
    migration: MigrationStatus | None = None
    stopped: Finding | None = None
    """Why the steps after did not run; None: all ran."""
    hold: bool = False
    """Look and report, and change nothing."""
    wake_after_s: float | None = None
    """When time alone changes what is to be done; None: only an event does."""
    deployment: Manifest | None = None
    """As rendered, once the steps came so far."""
    holds_back: bool = False
    """The stop is a failure, and not only something to wait for."""


def stop(plan: Plan, condition: ConditionType, finding: Finding) -> Plan:
    """Return the plan with a failure that keeps the steps after from running."""
    findings = {**plan.findings, condition: finding}
    return replace(plan, findings=findings, stopped=finding, holds_back=True)


def passed(plan: Plan, condition: ConditionType, finding: Finding) -> Plan:
    """Return the plan with one finding more."""
    return replace(plan, findings={**plan.findings, condition: finding})


def vault_image(spec: SomaBrainSpec, release: Release) -> str:
    """Return the image of Vault's agent."""
    return (spec.vault.image if spec.vault else None) or release.vault_image
