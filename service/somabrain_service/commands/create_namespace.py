"""Create a namespace."""

from __future__ import annotations

import dataclasses

from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.namespace_defaults import with_defaults
from somabrain_service.domain import analyzer
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceDraft


async def create_namespace(
    context: AppContext, tenant: TenantId, draft: NamespaceDraft, *, request_id: str = ""
) -> Namespace:
    """Create a namespace; unset settings get their defaults.

    Raises:
        InvalidArgument: the language or encoder is unknown to this server.
        AlreadyExists: the name is taken, or `request_id` was used with another body.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    request = request_key(tenant, request_id, "CreateNamespace", draft)
    settings = with_defaults(context, draft.settings)
    resolved = dataclasses.replace(draft, settings=settings)
    analyzer_name = analyzer.latest_analyzer(settings.language).name
    return await context.store.create_namespace(tenant, resolved, analyzer_name, context.clock(), request)
