"""Cache of namespaces.

Only their settings, which seldom change, are used: every statement that relies on them checks the etag in its
transaction.
"""

from __future__ import annotations

from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace

MAX_ENTRIES = 10_000


class NamespaceCache:
    """Recently read namespaces, at most `MAX_ENTRIES`."""

    def __init__(self) -> None:
        # Not cachetools' FIFOCache: there an entry that is put again becomes the newest.
        self._entries: dict[tuple[TenantId, NamespaceName], Namespace] = {}

    def get(self, tenant: TenantId, name: NamespaceName) -> Namespace | None:
        """Return a namespace as last read; None: not cached."""
        return self._entries.get((tenant, name))

    def put(self, tenant: TenantId, namespace: Namespace) -> Namespace:
        """Cache a namespace as read, and return it; evicts the oldest entry when full.

        A snapshot older than the cached entry does not replace it.
        """
        cached = self._entries.get((tenant, namespace.name))
        if cached and cached.epoch == namespace.epoch and _revision(cached) > _revision(namespace):
            return namespace
        self._entries[tenant, namespace.name] = namespace
        if len(self._entries) > MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        return namespace

    def invalidate(self, tenant: TenantId, name: NamespaceName) -> None:
        """Remove a namespace from the cache."""
        self._entries.pop((tenant, name), None)


def _revision(namespace: Namespace) -> int:
    """Return the number of changes of its settings, the last part of the etag."""
    return int(namespace.etag.rpartition("-")[2])
