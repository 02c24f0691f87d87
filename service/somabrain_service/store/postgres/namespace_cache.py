"""Namespaces that this process has seen.

Only what seldom changes in them is believed: every statement that builds on it checks the etag in its transaction.
"""

from __future__ import annotations

from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace

MAX_ENTRIES = 10_000


class NamespaceCache:
    """The namespaces last asked for, at most `MOST`."""

    def __init__(self) -> None:
        self._entries: dict[tuple[TenantId, NamespaceName], Namespace] = {}

    def get(self, tenant: TenantId, name: NamespaceName) -> Namespace | None:
        """A namespace as it was when last seen; None: it was not, or is out of mind."""
        return self._entries.get((tenant, name))

    def put(self, tenant: TenantId, namespace: Namespace) -> Namespace:
        """Know a namespace as it was read; the one that was first known makes room.

        A reading that began before a change and ends after it changes nothing here.
        """
        cached = self._entries.get((tenant, namespace.name))
        if cached and cached.epoch == namespace.epoch and _revision(cached) > _revision(namespace):
            return namespace
        self._entries[tenant, namespace.name] = namespace
        if len(self._entries) > MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        return namespace

    def invalidate(self, tenant: TenantId, name: NamespaceName) -> None:
        """Do not believe it any longer."""
        self._entries.pop((tenant, name), None)


def _revision(namespace: Namespace) -> int:
    """How often its settings were changed; an etag ends in it."""
    return int(namespace.etag.rpartition("-")[2])
