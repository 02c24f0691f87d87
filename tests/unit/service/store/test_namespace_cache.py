"""The namespace cache never returns to an older version."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceSettings
from somabrain_service.store.postgres.namespace_cache import NamespaceCache

TENANT, NAME, NOW = TenantId(UUID(int=1)), NamespaceName("notes"), datetime(2026, 1, 1, tzinfo=UTC)


def notes(revision: int, epoch: str = "e") -> Namespace:
    settings = NamespaceSettings("en", "lexical", None, None, None)
    return Namespace(NAME, "", settings, "en-1", False, NOW, NOW, 1, epoch, f"{epoch}-{revision}", 1)


def test_older_version_does_not_replace_newer_one() -> None:
    cache = NamespaceCache()
    cache.put(TENANT, notes(9))
    cache.put(TENANT, notes(10))
    cache.put(TENANT, notes(9))
    assert cache.get(TENANT, NAME) == notes(10)


def test_equal_version_or_other_epoch_replaces_entry() -> None:
    """An equal version replaces, and so does another epoch: a recreated or restored namespace counts from its start."""
    cache = NamespaceCache()
    cache.put(TENANT, notes(10))
    cache.put(TENANT, replace(notes(10), version=2))
    assert cache.get(TENANT, NAME) == replace(notes(10), version=2)
    cache.put(TENANT, notes(1, epoch="f"))
    assert cache.get(TENANT, NAME) == notes(1, epoch="f")
