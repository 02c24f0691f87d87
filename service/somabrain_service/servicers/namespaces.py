"""Namespaces: from protobuf and back."""

from __future__ import annotations

from somabrain.memory.v1 import namespace_service_pb2 as pb
from somabrain_service.domain.names import NamespaceName
from somabrain_service.domain.namespace import Namespace, NamespaceDraft, NamespaceSettings
from somabrain_service.servicers.times import read_span, write_span, write_time


def read_draft(request: pb.CreateNamespaceRequest) -> NamespaceDraft:
    """Return what the caller says about a new namespace.

    Raises:
        InvalidArgument: a field is out of its bound.
    """
    settings, said = request.namespace.settings, "namespace.settings"
    return NamespaceDraft(
        name=NamespaceName.of(request.namespace_id),
        display_name=request.namespace.display_name,
        settings=NamespaceSettings(
            language=settings.language,
            encoder=settings.encoder,
            recency_half_life=read_span(settings, "recency_half_life", f"{said}.recency_half_life"),
            default_ttl=read_span(settings, "default_ttl", f"{said}.default_ttl"),
            feed_retention=read_span(settings, "feed_retention", f"{said}.feed_retention"),
        ),
    )


def write_namespace(namespace: Namespace) -> pb.Namespace:
    """Return the namespace as callers see it."""
    message = pb.Namespace(
        name=str(namespace.name),
        display_name=namespace.display_name,
        version=namespace.version,
        epoch=namespace.epoch,
        etag=namespace.etag,
    )
    write_time(message.create_time, namespace.create_time)
    write_time(message.update_time, namespace.update_time)
    settings = namespace.settings
    message.settings.language = settings.language
    message.settings.encoder = settings.encoder
    if settings.recency_half_life is not None:
        write_span(message.settings.recency_half_life, settings.recency_half_life)
    if settings.default_ttl is not None:
        write_span(message.settings.default_ttl, settings.default_ttl)
    if settings.feed_retention is not None:
        write_span(message.settings.feed_retention, settings.feed_retention)
    return message
