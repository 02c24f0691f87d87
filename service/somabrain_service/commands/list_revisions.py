"""List the former states of a memory."""

from __future__ import annotations

from common.errors import NotFound
from somabrain_service.commands.services import Services
from somabrain_service.domain import limits
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.pages import MemoryPage, RevisionQuery
from somabrain_service.domain.tokens import page_token, read_page_token


async def list_revisions(services: Services, tenant: TenantId, query: RevisionQuery) -> MemoryPage:
    """Return a page, newest first, which ends at its size or at 3 MiB.

    Raises:
        InvalidArgument: the page token is of another request.
        NotFound: no such memory, or it has expired.
        StoreUnavailable: PostgreSQL is gone.
    """
    after = read_page_token(tenant, query)
    async with services.store.snapshot(tenant, query.parent.namespace, services.clock()) as reading:
        if await reading.memory(query.parent.memory) is None:
            raise NotFound("Memory", str(query.parent))
        before = None if after is None else after[1]
        found, more = await reading.revisions(query.parent.memory, before, query.page_size, limits.ANSWER_BYTES)
    token = page_token(tenant, query, "", found[-1].revision) if more else ""
    return MemoryPage(tuple(found), token)
