"""Observed state of one SomaBrain and its objects at one moment: the only input of the pure code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.names import ChildId, Key
from somabrain_operator.kube.objects import Json, Manifest
from somabrain_operator.references.resolved import ResolvedReference


@dataclass(frozen=True, slots=True)
class Brain:
    """The SomaBrain itself."""

    key: Key
    uid: str
    generation: int
    annotations: Mapping[str, str]
    spec: SomaBrainSpec | None
    """None if the stored object does not fit the model; `problem` gives the reason."""
    problem: str
    status: Manifest
    """The status that the API server has."""
    deleting: bool
    finalizers: tuple[str, ...] = ()

    def same_request_as(self, other: Brain) -> bool:
        """Return whether it differs from the other one at most in its status."""
        return replace(self, status={}) == replace(other, status={})


@dataclass(frozen=True, slots=True)
class OtherBudget:
    """A PodDisruptionBudget that the operator did not create."""

    name: str
    selector: Json
    """Its label selector."""


@dataclass(frozen=True, slots=True)
class OtherBudgets:
    """PodDisruptionBudgets of a namespace that the operator did not create."""

    budgets: tuple[OtherBudget, ...] = ()
    failure: str = ""
    """Error message if they could not be listed; else empty."""


@dataclass(frozen=True, slots=True)
class DatabaseInput:
    """Input of the making of a database, besides the administrator's Secret, which is a reference."""

    secret: Manifest | None = field(default=None, repr=False)
    """The live Secret NAME-database; None: it does not exist."""
    random: tuple[str, ...] = field(default=(), repr=False)
    """Five numbers of 128 random bits in hexadecimal digits, new in each reconcile: an id, and passwords."""


@dataclass(frozen=True, slots=True)
class ObservedState:
    """All input of the plan."""

    brain: Brain
    references: tuple[ResolvedReference, ...]
    children: Mapping[ChildId, Manifest]
    """Live objects under the names that children may have, of any owner."""
    jobs: tuple[Manifest, ...]
    """Jobs that migrate, and those that make or drop the database."""
    pods: tuple[Manifest, ...]
    """Pods of all components."""
    reports: Mapping[str, str]
    """Reasons why pods are not ready, by name of the pod, in their own words."""
    now: datetime
    missing_kinds: frozenset[str] = frozenset()
    """Optional kinds that the API server does not serve, such as those of the Prometheus operator."""
    pod_refusals: Mapping[str, str] = field(default_factory=dict)
    """Reason for which the API server refuses the pods of Jobs, by name of the Job, in its own words."""
    other_budgets: OtherBudgets = OtherBudgets()
    """PodDisruptionBudgets of the namespace; empty unless the spec has a PodDisruptionBudget."""
    database: DatabaseInput | None = None
    """Input of the making of the database; None unless the spec has it made."""


@dataclass(frozen=True, slots=True)
class OperatorDefaults:
    """Default images and policy of the operator's release, and its patience."""

    service_repository: str
    service_version: str
    opa_image: str
    vault_image: str
    policy: str
    """The default policy, in Rego."""
    stall_after_s: float = 300.0
    """Seconds after which a transient failure is Stalled."""
    provisions: bool = False
    """True if the operator has the rights to make databases: to write Secrets and finalizers."""
    finalizers: bool = False
    """True if it also has them while a namespace is being deleted, so that it can always remove a finalizer."""
