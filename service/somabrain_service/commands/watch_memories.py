"""Stream every change of a namespace after a cursor."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

from common.errors import OutOfRange
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.feed_retention import require_retained
from somabrain_service.domain.changes import Change, ChangeType, Position, WatchEvent, WatchQuery
from somabrain_service.domain.cursors import NamespaceVersion, feed_cursor, parse_feed_cursor
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryId, TenantId
from somabrain_service.store.protocols import Snapshot

CHECKPOINT_S = 5.0
CHANGES = 500
"""Maximum changes per page; without memories they are only names and numbers."""
CHANGES_WITH_MEMORIES = 16
"""Maximum changes per page with memories: 3.3 MB if all memories have the maximum size."""


async def watch_memories(context: AppContext, tenant: TenantId, query: WatchQuery) -> AsyncGenerator[WatchEvent, None]:
    """Yield each change after the cursor once, in commit order, and a checkpoint after `CHECKPOINT_S` without changes.

    The consumer sets the pace: the next page is read only when the previous one has been consumed.

    Raises:
        InvalidArgument: the cursor is altered, or belongs to another namespace.
        OutOfRange: the cursor is older than the retained feed, or of another epoch.
        NotFound: no such namespace, or it was deleted.
        ResourceExhausted: this process has its maximum of watches.
        Unavailable: PostgreSQL is unavailable, or the process is draining.
    """
    limit = CHANGES_WITH_MEMORIES if query.include_memory else CHANGES
    epoch, position, checkpoint_at = "", Position(0), 0.0

    async def read_version() -> NamespaceVersion:
        async with context.store.snapshot(tenant, query.parent, context.clock()) as snapshot:
            namespace = snapshot.namespace
        return namespace.read_version

    async with context.watch_hub.subscribe(tenant, query.parent) as poller:
        while True:
            context.watch_hub.check()
            now = context.clock()
            async with context.store.snapshot(tenant, query.parent, now) as snapshot:
                namespace = snapshot.namespace
                current = namespace.read_version
                if not epoch:
                    epoch, position = _start_position(tenant, query, current)
                elif epoch != namespace.epoch:
                    raise OutOfRange(
                        "The namespace was restored or recreated; export it and watch from the export's cursor."
                    )
                changes = require_retained(namespace, await snapshot.changes(position, limit), now)
                memories = await _memories(snapshot, changes) if query.include_memory else {}
            for change in changes:
                position = change.position
                if change.type is ChangeType.REINDEXED:
                    continue
                cursor = feed_cursor(tenant, query.parent, epoch, position)
                yield WatchEvent(change, memories.get(change.name.memory), now, cursor)
                checkpoint_at = time.monotonic() + CHECKPOINT_S
            if len(changes) == limit:
                continue
            # All changes up to this version have been delivered.
            position = Position(current.version)
            while True:
                if time.monotonic() >= checkpoint_at:
                    yield WatchEvent(None, None, now, feed_cursor(tenant, query.parent, epoch, position))
                    checkpoint_at = time.monotonic() + CHECKPOINT_S
                if await poller.wait_for_change(read_version) != current:
                    break
                now = context.clock()


def _start_position(tenant: TenantId, query: WatchQuery, current: NamespaceVersion) -> tuple[str, Position]:
    if not query.cursor:
        return current.epoch, Position(current.version)
    return current.epoch, parse_feed_cursor(tenant, query.parent, query.cursor, current)


async def _memories(snapshot: Snapshot, changes: list[Change]) -> dict[MemoryId, Memory]:
    ids = [change.name.memory for change in changes if change.type in {ChangeType.REMEMBERED, ChangeType.UPDATED}]
    return await snapshot.get_many(ids) if ids else {}
