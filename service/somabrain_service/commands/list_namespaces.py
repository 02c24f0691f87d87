"""List a tenant's namespaces in pages."""

from __future__ import annotations

from somabrain_service.commands.services import Services
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import NamespacePage
from somabrain_service.domain.pages import NamespaceQuery
from somabrain_service.domain.tokens import namespaces_token, read_namespaces_token


async def list_namespaces(services: Services, tenant: TenantId, query: NamespaceQuery) -> NamespacePage:
    """Return a page, in the order of the names.

    Raises:
        InvalidArgument: the page token is of another request.
        StoreUnavailable: PostgreSQL is gone.
    """
    after = read_namespaces_token(tenant, query)
    found = await services.store.list_namespaces(tenant, after, query.page_size + 1)
    page = tuple(found[: query.page_size])
    more = len(found) > len(page)
    return NamespacePage(page, namespaces_token(tenant, query, page[-1].name) if more else "")
