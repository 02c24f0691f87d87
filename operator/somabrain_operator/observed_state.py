"""What was seen of one SomaBrain and its surroundings at one moment: the only input of the pure code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.names import ChildId, Key
from somabrain_operator.objects import Manifest
from somabrain_operator.reference_catalog import Reference


@dataclass(frozen=True, slots=True)
class ResolvedReference:
    """A reference as it was found."""

    reference: Reference
    exists: bool
    """Whether it was found; not known when `refusal` says why it could not be read."""
    refusal: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    """A hash of each used key's content that is there and not empty."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Contents that must never be shown."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The used keys that are not there."""
        suffix = self.reference.suffix
        if not self.reference.keys:
            return (f"*{suffix}",) if suffix and not any(key.endswith(suffix) for key in self.digests) else ()
        return tuple(key for key in self.reference.keys if key not in self.digests)


@dataclass(frozen=True, slots=True)
class Brain:
    """The resource itself."""

    key: Key
    uid: str
    generation: int
    annotations: Mapping[str, str]
    spec: SomaBrainSpec | None
    """None when the stored object does not fit the model; `problem` says why."""
    problem: str
    status: Manifest
    """As it stands on the API server."""
    deleting: bool

    def same_request_as(self, other: Brain) -> bool:
        """Return whether nothing but the status differs from the other one."""
        return replace(self, status={}) == replace(other, status={})


@dataclass(frozen=True, slots=True)
class ObservedState:
    """Everything the plan is made from."""

    brain: Brain
    references: tuple[ResolvedReference, ...]
    children: Mapping[ChildId, Manifest]
    """Live objects under the names that children may have, whoever owns them."""
    jobs: tuple[Manifest, ...]
    """Migration Jobs."""
    pods: tuple[Manifest, ...]
    """Pods of all components."""
    reports: Mapping[str, str]
    """By pod: what a pod that is not ready says of itself."""
    now: datetime
    missing_kinds: frozenset[str] = frozenset()
    """Kinds that the API server does not know: those of others, which a cluster need not have."""


@dataclass(frozen=True, slots=True)
class OperatorDefaults:
    """What the operator was released with."""

    service_repository: str
    service_version: str
    opa_image: str
    vault_image: str
    policy: str
    """The default policy, in Rego."""
