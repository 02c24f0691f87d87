"""References that reconciles have read, by resource and by object, with the version of each object then."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from somabrain_operator.kube.names import Key
from somabrain_operator.references.catalog import Reference
from somabrain_operator.references.resolved import ResolvedReference


class Target(NamedTuple):
    """The object that a reference names."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class TrackedResource:
    """References of one SomaBrain as of its last reconcile."""

    uid: str
    resolved: tuple[ResolvedReference, ...]
    """Without contents: hashes suffice to compare them, and secrets are not stored."""
    versions: dict[Target, int] = field(default_factory=dict)
    """Version of each object; 0 if it did not exist or could not be read."""


class TrackedReferences:
    """All of them."""

    def __init__(self) -> None:
        """Start empty."""
        self._resources: dict[Key, TrackedResource] = {}
        self._targets: dict[Key, set[Target]] = {}
        self._users: dict[Target, set[Key]] = {}

    @property
    def keys(self) -> Set[Key]:
        """SomaBrains whose references are tracked."""
        return self._resources.keys()

    def get(self, key: Key) -> TrackedResource | None:
        """Return the references of a SomaBrain, or None if they are not tracked."""
        return self._resources.get(key)

    def expect(self, key: Key, references: Iterable[Reference]) -> None:
        """Let `users` return a SomaBrain from now on: call it before its references are read."""
        for each in references:
            target = _target(key, each)
            self._targets.setdefault(key, set()).add(target)
            self._users.setdefault(target, set()).add(key)

    def track(self, key: Key, uid: str, resolved: tuple[ResolvedReference, ...]) -> None:
        """Store the references that a reconcile of the SomaBrain with this uid has read."""
        versions: dict[Target, int] = {}
        for each in resolved:
            target = _target(key, each.reference)
            versions[target] = min(each.version, versions.get(target, each.version))
        self.expect(key, (each.reference for each in resolved))
        self._forget(key, self._targets.get(key, set()) - versions.keys())
        self._resources[key] = TrackedResource(uid, without_secrets(resolved), versions)

    def untrack(self, key: Key) -> None:
        """Remove the references of a SomaBrain."""
        self._forget(key, self._targets.get(key, set()))
        self._targets.pop(key, None)
        self._resources.pop(key, None)

    def users(self, target: Target) -> tuple[Key, ...]:
        """Return the SomaBrains that name an object."""
        return tuple(self._users.get(target, ()))

    def is_stale(self, key: Key, target: Target, version: int, *, deleted: bool) -> bool:
        """Return whether a SomaBrain was reconciled with another state of an object than that of an event.

        Args:
            key: the SomaBrain.
            target: the object.
            version: version of the object in the event.
            deleted: True if the event reports a deletion.
        """
        resource = self._resources.get(key)
        if resource is None:
            return True
        known = resource.versions.get(target)
        if known is None:
            return False  # no longer named
        return not deleted if known == 0 else version > known

    def _forget(self, key: Key, targets: Set[Target]) -> None:
        """Let `users` no longer return a SomaBrain for some objects."""
        for target in tuple(targets):
            self._targets[key].discard(target)
            self._users[target].discard(key)
            if not self._users[target]:
                del self._users[target]


def without_secrets(resolved: tuple[ResolvedReference, ...]) -> tuple[ResolvedReference, ...]:
    """Return the references without contents."""
    return tuple(replace(each, secrets=(), values={}) for each in resolved)


def _target(key: Key, reference: Reference) -> Target:
    return Target(reference.kind, key.namespace, reference.name)
