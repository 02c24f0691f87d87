"""Update a namespace's display name and settings."""

from __future__ import annotations

import dataclasses

from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.namespace_defaults import with_defaults
from somabrain_service.domain import analyzer
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceChange


async def update_namespace(
    context: AppContext, tenant: TenantId, change: NamespaceChange, *, request_id: str = ""
) -> Namespace:
    """Change settings; if required, memories are reencoded and reanalyzed in the background.

    Raises:
        InvalidArgument: the language or encoder is unknown to this server.
        NotFound: no such namespace.
        Aborted: the change's etag is not the current one.
        AlreadyExists: `request_id` was used with another body.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    request = request_key(tenant, request_id, "UpdateNamespace", change)
    settings = with_defaults(context, change.draft.settings)
    resolved = dataclasses.replace(change, draft=dataclasses.replace(change.draft, settings=settings))
    analyzer_name = analyzer.latest_analyzer(settings.language).name
    return await context.store.update_namespace(tenant, resolved, analyzer_name, context.clock(), request)
