"""List memories in pages."""

from __future__ import annotations

from datetime import timedelta

from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.touch_memory import refresh, renewed_expiry
from somabrain_service.domain import limits
from somabrain_service.domain.cursors import check_consistency, page_token, parse_page_token
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.pagination import ListQuery, MemoryPage


async def list_memories(
    context: AppContext, tenant: TenantId, query: ListQuery, *, refresh_ttl: timedelta | None = None
) -> MemoryPage:
    """Return a page, which ends at `page_size` or at 3 MiB; with `refresh_ttl` the lives of its memories are renewed.

    Raises:
        InvalidArgument: the page token is invalid, or belongs to another request.
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    after = parse_page_token(tenant, query)
    now = context.clock()
    expire_time = None if refresh_ttl is None else renewed_expiry(refresh_ttl, "refresh_ttl", now)
    async with context.store.snapshot(tenant, query.parent, now) as snapshot:
        namespace = snapshot.namespace
        check_consistency(query.consistency_token, query.parent, namespace.read_version)
        keys = await snapshot.list_keys(query.filter, query.order, after, query.page_size + 1)
        ids = [memory for _, memory in keys[: query.page_size]]
        memories = await snapshot.memories(ids, limits.MAX_RESPONSE_BYTES, end_snapshot=True) if ids else []
    more = len(memories) < len(keys)
    token = page_token(tenant, query, *keys[len(memories) - 1]) if more else ""
    memories = await refresh(context, tenant, namespace, memories, expire_time, now)
    return MemoryPage(tuple(memories), token)
