"""Make a namespace."""

from __future__ import annotations

import dataclasses

from common.errors import InvalidArgument
from somabrain_service.commands.services import Services
from somabrain_service.domain import analysis
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import (
    DEFAULT_FEED_RETENTION,
    DEFAULT_LANGUAGE,
    Namespace,
    NamespaceDraft,
    NamespaceSettings,
)


async def create_namespace(
    services: Services, tenant: TenantId, draft: NamespaceDraft, *, request_id: str = ""
) -> Namespace:
    """Make a namespace with every setting filled in.

    Raises:
        InvalidArgument: a setting is none that this server has.
        AlreadyExists: the name is taken, or `request_id` came with another body.
        StoreUnavailable: PostgreSQL is gone.
    """
    request = request_key(tenant, request_id, "CreateNamespace", draft)
    settings = chosen(services, draft.settings)
    whole = dataclasses.replace(draft, settings=settings)
    analyzer = analysis.newest(settings.language).name
    return await services.store.create_namespace(tenant, whole, analyzer, services.clock(), request)


def chosen(services: Services, asked: NamespaceSettings) -> NamespaceSettings:
    """The settings with the defaults of those that have one.

    Raises:
        InvalidArgument: a setting is none that this server has.
    """
    encoder = asked.encoder or services.default_encoder
    if encoder not in services.encoder_ids:
        raise InvalidArgument(
            "namespace.settings.encoder", f"must be one of {', '.join(services.encoder_ids)}, or empty"
        )
    return dataclasses.replace(
        asked,
        language=asked.language or DEFAULT_LANGUAGE,
        encoder=encoder,
        feed_retention=asked.feed_retention or DEFAULT_FEED_RETENTION,
    )
