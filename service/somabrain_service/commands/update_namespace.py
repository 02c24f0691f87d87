"""Change how a namespace remembers."""

from __future__ import annotations

from somabrain_service.commands.services import Services
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceChange


async def update_namespace(
    services: Services, tenant: TenantId, change: NamespaceChange, *, request_id: str = ""
) -> Namespace:
    """Change settings; memories that are there keep what they have.

    Raises:
        NotFound: no such namespace.
        Aborted: the change's etag is not the current one.
        AlreadyExists: `request_id` came with another body.
        StoreUnavailable: PostgreSQL is gone.
    """
    request = request_key(tenant, request_id, "UpdateNamespace", change)
    return await services.store.update_namespace(tenant, change, services.clock(), request)
