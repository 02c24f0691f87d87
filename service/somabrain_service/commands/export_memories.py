"""Stream all memories of a namespace as of one version."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator

from somabrain_service.commands.services import Services
from somabrain_service.commands.watch_memories import retained
from somabrain_service.domain import limits
from somabrain_service.domain.feed import ExportPage, ExportQuery, Position, StoredVector
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryId, TenantId
from somabrain_service.domain.pages import Order
from somabrain_service.domain.tokens import export_token, feed_cursor, read_export_token
from somabrain_service.store.protocols import Snapshot


async def export_memories(services: Services, tenant: TenantId, query: ExportQuery) -> AsyncGenerator[ExportPage, None]:
    """Yield pages of memories that have not changed since the export's version; at least one, perhaps empty.

    Each page is a transaction of its own, so a slow consumer holds nothing. What changes meanwhile is left out, and
    told by a watch from the cursor: the two together miss nothing and repeat nothing, also after resuming.

    Raises:
        InvalidArgument: the token is altered, or of another request.
        OutOfRange: the token is older than the retained feed, or of another epoch.
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is gone.
    """
    more = True
    while more:
        now = services.clock()
        async with services.store.snapshot(tenant, query.parent, now) as reading:
            namespace = reading.namespace
            here = namespace.moment
            moment, after = read_export_token(tenant, query, here) if query.resume_token else (here, 0)
            since = Position(moment.version)
            retained(namespace, await reading.changes(since, 1), now)
            keys = await reading.list_keys(
                query.filter, Order(), (str(after), after), limits.PAGE_SIZE + 1, unchanged_since=moment.version
            )
            ids = [MemoryId(memory) for _, memory in keys[: limits.PAGE_SIZE]]
            exported = await _page(reading, ids, with_vectors=query.include_vectors)
        more = len(exported) < len(keys)
        last = exported[-1][0].name.memory if exported else after
        # Each page is the resumption of the one before.
        query = dataclasses.replace(query, resume_token=export_token(tenant, query, moment, last))
        yield ExportPage(exported, query.resume_token, feed_cursor(tenant, query.parent, moment.epoch, since))


async def _page(
    reading: Snapshot, ids: list[MemoryId], *, with_vectors: bool
) -> tuple[tuple[Memory, StoredVector | None], ...]:
    """As many of the memories as go into one message, one at least."""
    memories = await reading.memories(ids, limits.ANSWER_BYTES) if ids else []
    vectors = await reading.vectors([memory.name.memory for memory in memories]) if with_vectors and memories else {}
    page: list[tuple[Memory, StoredVector | None]] = []
    size = 0
    for memory in memories:
        vector = vectors.get(memory.name.memory)
        size += memory.size_bytes + (vector.size_bytes if vector else 0)
        if page and size > limits.ANSWER_BYTES:
            break
        page.append((memory, vector))
    return tuple(page)
