"""Return one memory by name or key."""

from __future__ import annotations

from datetime import timedelta

from common.errors import NotFound
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.touch_memory import refresh, renewed_expiry
from somabrain_service.domain.cursors import check_consistency
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryRef, TenantId


async def get_memory(
    context: AppContext,
    tenant: TenantId,
    ref: MemoryRef,
    *,
    consistency_token: str = "",
    refresh_ttl: timedelta | None = None,
) -> Memory:
    """Return a memory; with `refresh_ttl` its life is renewed first.

    Raises:
        InvalidArgument: `refresh_ttl` is not more than 0, or too long.
        NotFound: no such memory of this tenant, or it has expired.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    now = context.clock()
    expire_time = None if refresh_ttl is None else renewed_expiry(refresh_ttl, "refresh_ttl", now)
    async with context.store.snapshot(tenant, ref.namespace, now) as snapshot:
        namespace = snapshot.namespace
        check_consistency(consistency_token, ref.namespace, namespace.read_version)
        memory = await snapshot.memory(ref)
    if memory is None:
        raise NotFound("Memory", str(ref))
    (memory,) = await refresh(context, tenant, namespace, [memory], expire_time, now)
    return memory
