"""List the sessions or subjects of a namespace's memories in pages."""

from __future__ import annotations

from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.cursors import check_consistency, groups_page_token, parse_groups_page_token
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.pagination import GroupPage, GroupQuery


async def list_groups(context: AppContext, tenant: TenantId, query: GroupQuery) -> GroupPage:
    """Return a page of groups, in the order of the bytes of their sessions or subjects.

    Raises:
        InvalidArgument: the page token is invalid, or belongs to another request.
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    after = parse_groups_page_token(tenant, query)
    async with context.store.snapshot(tenant, query.parent, context.clock()) as snapshot:
        namespace = snapshot.namespace
        check_consistency(query.consistency_token, query.parent, namespace.read_version)
        groups = await snapshot.list_groups(query.filter, query.group_by, after, query.page_size + 1)
    page = tuple(groups[: query.page_size])
    token = groups_page_token(tenant, query, page[-1].value) if len(groups) > len(page) else ""
    return GroupPage(page, token)
