"""Conversion of rows to domain values."""

from __future__ import annotations

from typing import Any

from somabrain_service.domain.memory import Memory, MemoryKind
from somabrain_service.domain.names import MemoryId, MemoryName, NamespaceName
from somabrain_service.domain.namespace import Namespace, NamespaceSettings

NAMESPACE = """n.id, n.name, n.display_name, n.analyzer, n.language, n.encoder, n.recency_half_life, n.default_ttl,
    n.feed_retention, n.analyzed_after, n.create_time, n.update_time, n.revision, n.version, n.epoch,
    n.content"""

MEMORY = """m.id, m.text, m.kind, m.session, m.position, m.subject, m.labels, m.event_time, m.create_time,
    m.update_time, m.salience, m.expire_time, m.pinned, m.revision, m.key, m.index_text"""
"""Columns of `memories m`. `memory_revisions` has them too, and an update copies them (`update`)."""
STORED_BYTES = "octet_length(m.text) + coalesce(octet_length(m.key), 0) + coalesce(octet_length(m.index_text), 0)"
"""As `Memory.stored_bytes`."""
SIZE = f"""512 + {STORED_BYTES} + octet_length(m.session) + octet_length(m.subject)
    + 2 * octet_length(CAST(m.labels AS text))"""
"""Upper bound of a memory's size in a message, as `Memory.size_bytes`."""


def namespace(row: Any) -> Namespace:
    """Convert a row of the columns NAMESPACE."""
    return Namespace(
        name=NamespaceName(row.name),
        display_name=row.display_name,
        settings=NamespaceSettings(
            language=row.language,
            encoder=row.encoder,
            recency_half_life=row.recency_half_life,
            default_ttl=row.default_ttl,
            feed_retention=row.feed_retention,
            content=row.content,
        ),
        analyzer=row.analyzer,
        reanalyzing=row.analyzed_after is not None,
        create_time=row.create_time,
        update_time=row.update_time,
        version=row.version,
        epoch=row.epoch,
        etag=f"{row.epoch}-{row.revision}",
        number=row.id,
    )


def memory(parent: NamespaceName, row: Any) -> Memory:
    """Convert a row of the columns MEMORY."""
    return Memory(
        name=MemoryName(parent, MemoryId(row.id)),
        text=row.text,
        kind=MemoryKind(row.kind),
        session=row.session,
        session_position=row.position,
        subject=row.subject,
        labels=row.labels,
        event_time=row.event_time,
        create_time=row.create_time,
        update_time=row.update_time,
        salience=row.salience,
        expire_time=row.expire_time,
        pinned=row.pinned,
        revision=row.revision,
        key=row.key or "",
        index_text=row.index_text or "",
    )
