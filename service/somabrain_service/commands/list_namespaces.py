"""List a tenant's namespaces in pages."""

from __future__ import annotations

from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.cursors import namespaces_page_token, parse_namespaces_page_token
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import NamespacePage
from somabrain_service.domain.pagination import NamespaceQuery


async def list_namespaces(context: AppContext, tenant: TenantId, query: NamespaceQuery) -> NamespacePage:
    """Return a page, ordered by name.

    Raises:
        InvalidArgument: the page token is invalid, or belongs to another request.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    after = parse_namespaces_page_token(tenant, query)
    namespaces = await context.store.list_namespaces(tenant, after, query.page_size + 1)
    page = tuple(namespaces[: query.page_size])
    more = len(namespaces) > len(page)
    return NamespacePage(page, namespaces_page_token(tenant, query, page[-1].name) if more else "")
