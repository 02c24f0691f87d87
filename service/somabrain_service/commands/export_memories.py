"""Stream all memories of a namespace as of one version."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator

from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.feed_retention import require_retained
from somabrain_service.domain import limits
from somabrain_service.domain.changes import ExportPage, ExportQuery, Position, StoredVector
from somabrain_service.domain.cursors import export_token, feed_cursor, parse_export_token
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryId, TenantId
from somabrain_service.domain.pagination import Order
from somabrain_service.store.protocols import Snapshot


async def export_memories(
    context: AppContext, tenant: TenantId, query: ExportQuery
) -> AsyncGenerator[ExportPage, None]:
    """Yield pages of memories that have not changed since the export's version; at least one page, possibly empty.

    Each page is read in its own transaction, so a slow consumer holds no resources. Memories that change meanwhile are
    left out and delivered by a watch from the cursor: together they miss and repeat nothing, also after resuming.

    Raises:
        InvalidArgument: the token is altered, or belongs to another request.
        OutOfRange: the token is older than the retained feed, or of another epoch.
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    more = True
    while more:
        now = context.clock()
        async with context.store.snapshot(tenant, query.parent, now) as snapshot:
            namespace = snapshot.namespace
            current = namespace.read_version
            as_of, after = parse_export_token(tenant, query, current) if query.resume_token else (current, 0)
            since = Position(as_of.version)
            require_retained(namespace, await snapshot.changes(since, 1), now)
            keys = await snapshot.list_keys(
                query.filter, Order(), (str(after), after), limits.MAX_PAGE_SIZE + 1, unchanged_since=as_of.version
            )
            ids = [MemoryId(memory) for _, memory in keys[: limits.MAX_PAGE_SIZE]]
            exported = await _page(snapshot, ids, with_vectors=query.include_vectors)
        more = len(exported) < len(keys)
        last = exported[-1][0].name.memory if exported else after
        # Each page resumes from the previous one.
        query = dataclasses.replace(query, resume_token=export_token(tenant, query, as_of, last))
        yield ExportPage(exported, query.resume_token, feed_cursor(tenant, query.parent, as_of.epoch, since))


async def _page(
    snapshot: Snapshot, ids: list[MemoryId], *, with_vectors: bool
) -> tuple[tuple[Memory, StoredVector | None], ...]:
    """Return as many of the memories as fit in one message, at least one."""
    memories = await snapshot.memories(ids, limits.MAX_RESPONSE_BYTES) if ids else []
    vectors = await snapshot.vectors([memory.name.memory for memory in memories]) if with_vectors and memories else {}
    page: list[tuple[Memory, StoredVector | None]] = []
    size = 0
    for memory in memories:
        vector = vectors.get(memory.name.memory)
        size += memory.size_bytes + (vector.size_bytes if vector else 0)
        if page and size > limits.MAX_RESPONSE_BYTES:
            break
        page.append((memory, vector))
    return tuple(page)
