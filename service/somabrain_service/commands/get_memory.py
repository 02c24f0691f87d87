"""Return one memory by name or key."""

from __future__ import annotations

from common.errors import NotFound
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.cursors import check_consistency
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryRef, TenantId


async def get_memory(context: AppContext, tenant: TenantId, ref: MemoryRef, *, consistency_token: str = "") -> Memory:
    """Return a memory.

    Raises:
        NotFound: no such memory of this tenant, or it has expired.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    async with context.store.snapshot(tenant, ref.namespace, context.clock()) as snapshot:
        namespace = snapshot.namespace
        check_consistency(consistency_token, ref.namespace, namespace.read_version)
        memory = await snapshot.memory(ref)
    if memory is None:
        raise NotFound("Memory", str(ref))
    return memory
