"""Forget one memory for good."""

from __future__ import annotations

from common.errors import NotFound
from somabrain_service.commands.services import Services
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.names import MemoryName, TenantId
from somabrain_service.domain.tokens import consistency_token


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
    request = request_key(tenant, request_id, "ForgetMemory", name, etag)
    now = services.clock()
    moment = await services.store.delete_memory(tenant, name, etag, now, request)
    if moment is None:
        if not allow_missing:
            raise NotFound("Memory", str(name), "With allow_missing that is no error.")
        async with services.store.snapshot(tenant, name.namespace, now) as reading:
            moment = reading.namespace.moment
    return consistency_token(name.namespace, moment)
