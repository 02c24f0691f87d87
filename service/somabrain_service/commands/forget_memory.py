"""Forget one memory for good."""

from __future__ import annotations

from somabrain_service.commands.services import Services
from somabrain_service.domain.names import MemoryName, TenantId


async def forget_memory(
    services: Services,
    tenant: TenantId,
    name: MemoryName,
    *,
    etag: str = "",
    request_id: str = "",
    allow_missing: bool = False,
) -> str:
    """Forget a memory with its revisions, vectors and terms.

    Returns:
        The consistency token of a read that must no longer see it.

    Raises:
        NotFound: no such memory, unless `allow_missing`; or no such namespace.
        Aborted: `etag` is not the current one.
        AlreadyExists: `request_id` came with another body.
        StoreUnavailable: PostgreSQL is gone.
    """
    raise NotImplementedError
