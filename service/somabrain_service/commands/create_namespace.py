"""Make a namespace."""

from __future__ import annotations

from somabrain_service.commands.services import Services
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceDraft


async def create_namespace(
    services: Services, tenant: TenantId, draft: NamespaceDraft, *, request_id: str = ""
) -> Namespace:
    """Make a namespace with every setting filled in.

    Raises:
        InvalidArgument: a setting is none that this server has.
        AlreadyExists: the name is taken, or `request_id` came with another body.
        StoreUnavailable: PostgreSQL is gone.
    """
    raise NotImplementedError
