"""Defaults of a namespace's settings."""

from __future__ import annotations

import dataclasses

from common.errors import InvalidArgument
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.namespace import CONVERSATION, DEFAULT_FEED_RETENTION, DEFAULT_LANGUAGE, NamespaceSettings


def with_defaults(context: AppContext, requested: NamespaceSettings) -> NamespaceSettings:
    """Return the settings with defaults filled in.

    Raises:
        InvalidArgument: the language or encoder is unknown to this server.
    """
    encoder = requested.encoder or context.default_encoder
    if encoder not in context.encoder_ids:
        raise InvalidArgument(
            "namespace.settings.encoder", f"must be one of {', '.join(context.encoder_ids)}, or empty"
        )
    return dataclasses.replace(
        requested,
        language=requested.language or DEFAULT_LANGUAGE,
        encoder=encoder,
        feed_retention=requested.feed_retention or DEFAULT_FEED_RETENTION,
        content=requested.content or CONVERSATION,
    )
