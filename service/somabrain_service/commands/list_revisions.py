"""List the revisions of a memory."""

from __future__ import annotations

from common.errors import NotFound
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain import limits
from somabrain_service.domain.cursors import page_token, parse_page_token
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.pagination import MemoryPage, RevisionQuery


async def list_revisions(context: AppContext, tenant: TenantId, query: RevisionQuery) -> MemoryPage:
    """Return a page, newest first, which ends at `page_size` or at 3 MiB.

    Raises:
        InvalidArgument: the page token is invalid, or belongs to another request.
        NotFound: no such memory, or it has expired.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    after = parse_page_token(tenant, query)
    async with context.store.snapshot(tenant, query.parent.namespace, context.clock()) as snapshot:
        memory = await snapshot.memory(query.parent)
        if memory is None:
            raise NotFound("Memory", str(query.parent))
        before = None if after is None else after[1]
        revisions, more = await snapshot.revisions(
            memory.name.memory, before, query.page_size, limits.MAX_RESPONSE_BYTES
        )
    token = page_token(tenant, query, "", revisions[-1].revision) if more else ""
    return MemoryPage(tuple(revisions), token)
