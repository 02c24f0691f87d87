"""List memories in pages."""

from __future__ import annotations

from somabrain_service.commands.services import Services
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.pages import ListQuery, MemoryPage


async def list_memories(services: Services, tenant: TenantId, query: ListQuery) -> MemoryPage:
    """Return a page, which ends at its size or at 3 MiB.

    Raises:
        InvalidArgument: the page token is of another request.
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is gone.
    """
    raise NotImplementedError
