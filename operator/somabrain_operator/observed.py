"""What was seen of one SomaBrain and its surroundings at one moment: the only input of the pure code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.names import ChildId, Key
from somabrain_operator.tree import Manifest


@dataclass(frozen=True, slots=True)
class Reference:
    """A Secret or ConfigMap that the spec names."""

    kind: Literal["Secret", "ConfigMap"]
    name: str
    field: str
    """Where the spec names it."""
    keys: tuple[str, ...]
    """The keys that are used; empty: all that end in .rego."""


@dataclass(frozen=True, slots=True)
class Resolved:
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
        if not self.reference.keys:
            return () if self.digests else ("*.rego",)
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

    def asks_as(self, other: Brain) -> bool:
        """Return whether nothing but the status differs from the other one."""
        return replace(self, status={}) == replace(other, status={})


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything the plan is made from."""

    brain: Brain
    references: tuple[Resolved, ...]
    children: Mapping[ChildId, Manifest]
    """Live objects under the names that children may have, whoever owns them."""
    jobs: tuple[Manifest, ...]
    """Migration Jobs."""
    pods: tuple[Manifest, ...]
    """Pods of all components."""
    reports: Mapping[str, str]
    """By pod: what a pod that is not ready says of itself."""
    now: datetime


@dataclass(frozen=True, slots=True)
class Release:
    """What the operator was released with."""

    service_repository: str
    service_version: str
    opa_image: str
    policy: str
    """The default policy, in Rego."""


def references_of(spec: SomaBrainSpec) -> tuple[Reference, ...]:
    """Return what the spec names."""
    found = [
        Reference("Secret", spec.database.secret_ref.name, "spec.database.secretRef", ("app-dsn", "worker-dsn")),
    ]
    if spec.migration.enabled and spec.migration.database:
        name = spec.migration.database.secret_ref.name
        found.append(Reference("Secret", name, "spec.migration.database.secretRef", ("owner-dsn",)))
    if spec.opa.policy:
        found.append(Reference("ConfigMap", spec.opa.policy.config_map_ref.name, "spec.opa.policy.configMapRef", ()))
    return tuple(found)
