"""Permanently forget one memory."""

from __future__ import annotations

from common.errors import NotFound
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.cursors import consistency_token
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.names import MemoryRef, TenantId


async def forget_memory(
    context: AppContext,
    tenant: TenantId,
    ref: MemoryRef,
    *,
    etag: str = "",
    request_id: str = "",
    allow_missing: bool = False,
) -> str:
    """Forget a memory with its revisions, vectors and terms.

    Returns:
        The consistency token for reads that must not see it.

    Raises:
        NotFound: no such memory, unless `allow_missing`; or no such namespace.
        Aborted: `etag` is not the current one.
        AlreadyExists: `request_id` was used with another body.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    request = request_key(tenant, request_id, "ForgetMemory", ref, etag)
    now = context.clock()
    as_of = await context.store.delete_memory(tenant, ref, etag, now, request)
    if as_of is None:
        if not allow_missing:
            raise NotFound("Memory", str(ref), "Set allow_missing to ignore this.")
        async with context.store.snapshot(tenant, ref.namespace, now) as snapshot:
            as_of = snapshot.namespace.read_version
    return consistency_token(ref.namespace, as_of)
