"""Return a namespace with its statistics."""

from __future__ import annotations

from dataclasses import replace

from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceStatistics


async def get_namespace(
    context: AppContext, tenant: TenantId, name: NamespaceName
) -> tuple[Namespace, NamespaceStatistics]:
    """Return the namespace and its exact statistics.

    Raises:
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    namespace, statistics = await context.store.measure_namespace(tenant, name, context.clock())
    return namespace, replace(statistics, tenant_limit=context.flags.for_tenant(tenant).storage_limit)
