"""Return one memory by name."""

from __future__ import annotations

from somabrain_service.commands.services import Services
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryName, TenantId


async def get_memory(services: Services, tenant: TenantId, name: MemoryName, *, consistency_token: str = "") -> Memory:
    """Return a memory.

    Raises:
        NotFound: no such memory of this tenant, or it has expired.
        StoreUnavailable: PostgreSQL is gone.
    """
    raise NotImplementedError
