"""Namespaces: from protobuf and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from common.errors import InvalidArgument
from somabrain.memory.v1 import namespace_service_pb2 as pb
from somabrain_service.domain.names import NamespaceName
from somabrain_service.domain.namespace import (
    MUTABLE_FIELDS,
    Namespace,
    NamespaceChange,
    NamespaceDraft,
    NamespaceSettings,
    NamespaceStatistics,
)
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


def read_change(request: pb.UpdateNamespaceRequest) -> NamespaceChange:
    """Return what is to change: the fields that the mask names, and of the others nothing is read.

    Raises:
        InvalidArgument: a field is out of its bound, or the mask names none that may change.
    """
    wanted, said = request.namespace, "namespace.settings"
    paths = _read_mask(request.update_mask.paths)

    def span(name: str) -> timedelta | None:
        return read_span(wanted.settings, name, f"{said}.{name}") if f"settings.{name}" in paths else None

    draft = NamespaceDraft(
        name=NamespaceName.parse(wanted.name, "namespace.name"),
        display_name=wanted.display_name if "display_name" in paths else "",
        settings=NamespaceSettings(
            language=wanted.settings.language if "settings.language" in paths else "",
            encoder=wanted.settings.encoder if "settings.encoder" in paths else "",
            recency_half_life=span("recency_half_life"),
            default_ttl=span("default_ttl"),
            feed_retention=span("feed_retention"),
        ),
    )
    return NamespaceChange(draft, paths, wanted.etag)


def _read_mask(paths: Sequence[str]) -> tuple[str, ...]:
    if not paths or not set(paths) <= set(MUTABLE_FIELDS):
        raise InvalidArgument("update_mask", f"must name one or more of {', '.join(MUTABLE_FIELDS)}, and nothing else")
    return tuple(sorted(set(paths)))


def write_namespace(namespace: Namespace, statistics: NamespaceStatistics | None = None) -> pb.Namespace:
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
    if statistics is not None:
        message.statistics.CopyFrom(_write_statistics(statistics))
    return message


def _write_statistics(statistics: NamespaceStatistics) -> pb.NamespaceStatistics:
    return pb.NamespaceStatistics(
        memory_count=statistics.memories,
        text_bytes=statistics.text_bytes,
        vector_count=statistics.vectors,
        unencoded_count=statistics.unencoded,
        unanalyzed_count=statistics.unanalyzed,
        session_count=statistics.sessions,
        term_count=statistics.terms,
        tenant_memory_limit=statistics.tenant_limit.memories,
        tenant_byte_limit=statistics.tenant_limit.text_bytes,
        tenant_memory_count=statistics.tenant_memories,
        tenant_byte_count=statistics.tenant_bytes,
    )
