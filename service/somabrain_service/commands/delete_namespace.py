"""Delete a namespace with everything in it."""

from __future__ import annotations

from common.errors import NotFound
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.names import NamespaceName, TenantId


async def delete_namespace(
    context: AppContext,
    tenant: TenantId,
    name: NamespaceName,
    *,
    etag: str = "",
    request_id: str = "",
    allow_missing: bool = False,
) -> None:
    """Delete a namespace permanently: all of it or, on failure, nothing.

    Raises:
        NotFound: no such namespace, unless `allow_missing`.
        Aborted: `etag` is not the current one.
        AlreadyExists: `request_id` was used with another body.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    request = request_key(tenant, request_id, "DeleteNamespace", name, etag)
    deleted = await context.store.delete_namespace(tenant, name, etag, context.clock(), request)
    if not deleted and not allow_missing:
        raise NotFound("Namespace", str(name), "Set allow_missing to ignore this.")
