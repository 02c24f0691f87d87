"""Return one memory by name."""

from __future__ import annotations

from common.errors import NotFound
from somabrain_service.commands.services import Services
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryName, TenantId
from somabrain_service.domain.tokens import check_consistency


async def get_memory(services: Services, tenant: TenantId, name: MemoryName, *, consistency_token: str = "") -> Memory:
    """Return a memory.

    Raises:
        NotFound: no such memory of this tenant, or it has expired.
        StoreUnavailable: PostgreSQL is gone.
    """
    async with services.store.snapshot(tenant, name.namespace, services.clock()) as reading:
        seen = reading.namespace
        check_consistency(consistency_token, name.namespace, seen.moment)
        memory = await reading.memory(name.memory)
    if memory is None:
        raise NotFound("Memory", str(name))
    return memory
