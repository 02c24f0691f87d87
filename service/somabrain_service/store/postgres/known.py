"""Namespaces that this process has seen.

Only what seldom changes in them is believed: every statement that builds on it checks the etag in its transaction.
"""

from __future__ import annotations

from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace

MOST = 10_000


class KnownNamespaces:
    """The namespaces last asked for, at most `MOST`."""

    def __init__(self) -> None:
        self._known: dict[tuple[TenantId, NamespaceName], Namespace] = {}

    def get(self, tenant: TenantId, name: NamespaceName) -> Namespace | None:
        """A namespace as it was when last seen; None: it was not, or is out of mind."""
        return self._known.get((tenant, name))

    def keep(self, tenant: TenantId, namespace: Namespace) -> Namespace:
        """Know a namespace as it was read; the one that was first known makes room.

        A reading that began before a change and ends after it changes nothing here.
        """
        known = self._known.get((tenant, namespace.name))
        if known and known.epoch == namespace.epoch and _revision(known) > _revision(namespace):
            return namespace
        self._known[tenant, namespace.name] = namespace
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        return namespace

    def forget(self, tenant: TenantId, name: NamespaceName) -> None:
        """Do not believe it any longer."""
        self._known.pop((tenant, name), None)


def _revision(namespace: Namespace) -> int:
    """How often its settings were changed; an etag ends in it."""
    return int(namespace.etag.rpartition("-")[2])
