"""List memories in pages."""

from __future__ import annotations

from somabrain_service.commands.services import Services
from somabrain_service.domain import limits
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.pages import ListQuery, MemoryPage
from somabrain_service.domain.tokens import check_consistency, page_token, read_page_token


async def list_memories(services: Services, tenant: TenantId, query: ListQuery) -> MemoryPage:
    """Return a page, which ends at its size or at 3 MiB.

    Raises:
        InvalidArgument: the page token is of another request.
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is gone.
    """
    after = read_page_token(tenant, query)
    async with services.store.snapshot(tenant, query.parent, services.clock()) as reading:
        seen = reading.namespace
        check_consistency(query.consistency_token, query.parent, seen.moment)
        keys = await reading.list_keys(query.filter, query.order, after, query.page_size + 1)
        ids = [memory for _, memory in keys[: query.page_size]]
        memories = await reading.memories(ids, limits.ANSWER_BYTES, end_snapshot=True) if ids else []
    more = len(memories) < len(keys)
    token = page_token(tenant, query, *keys[len(memories) - 1]) if more else ""
    return MemoryPage(tuple(memories), token)
