"""Convert namespaces from and to protobuf."""

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
from somabrain_service.servicers.convert.time import duration_from_proto, set_duration, set_timestamp


def namespace_draft_from_proto(request: pb.CreateNamespaceRequest) -> NamespaceDraft:
    """Return the draft of a new namespace.

    Raises:
        InvalidArgument: a field is out of its bound.
    """
    settings, settings_path = request.namespace.settings, "namespace.settings"
    return NamespaceDraft(
        name=NamespaceName.of(request.namespace_id),
        display_name=request.namespace.display_name,
        settings=NamespaceSettings(
            language=settings.language,
            encoder=settings.encoder,
            recency_half_life=duration_from_proto(settings, "recency_half_life", f"{settings_path}.recency_half_life"),
            default_ttl=duration_from_proto(settings, "default_ttl", f"{settings_path}.default_ttl"),
            feed_retention=duration_from_proto(settings, "feed_retention", f"{settings_path}.feed_retention"),
            content=settings.content,
        ),
    )


def namespace_change_from_proto(request: pb.UpdateNamespaceRequest) -> NamespaceChange:
    """Return the change: only the fields that the mask names are read.

    Raises:
        InvalidArgument: a field is out of its bound, or the mask is empty or names a field that cannot change.
    """
    message, settings_path = request.namespace, "namespace.settings"
    paths = _paths_from_mask(request.update_mask.paths)

    def duration(name: str) -> timedelta | None:
        return (
            duration_from_proto(message.settings, name, f"{settings_path}.{name}")
            if f"settings.{name}" in paths
            else None
        )

    draft = NamespaceDraft(
        name=NamespaceName.parse(message.name, "namespace.name"),
        display_name=message.display_name if "display_name" in paths else "",
        settings=NamespaceSettings(
            language=message.settings.language if "settings.language" in paths else "",
            encoder=message.settings.encoder if "settings.encoder" in paths else "",
            recency_half_life=duration("recency_half_life"),
            default_ttl=duration("default_ttl"),
            feed_retention=duration("feed_retention"),
            content=message.settings.content if "settings.content" in paths else "",
        ),
    )
    return NamespaceChange(draft, paths, message.etag)


def _paths_from_mask(paths: Sequence[str]) -> tuple[str, ...]:
    if not paths or not set(paths) <= set(MUTABLE_FIELDS):
        raise InvalidArgument("update_mask", f"must name one or more of {', '.join(MUTABLE_FIELDS)}, and nothing else")
    return tuple(sorted(set(paths)))


def namespace_to_proto(namespace: Namespace, statistics: NamespaceStatistics | None = None) -> pb.Namespace:
    """Return the namespace as a protobuf message."""
    message = pb.Namespace(
        name=str(namespace.name),
        display_name=namespace.display_name,
        version=namespace.version,
        epoch=namespace.epoch,
        etag=namespace.etag,
    )
    set_timestamp(message.create_time, namespace.create_time)
    set_timestamp(message.update_time, namespace.update_time)
    settings = namespace.settings
    message.settings.language = settings.language
    message.settings.encoder = settings.encoder
    message.settings.content = settings.content
    if settings.recency_half_life is not None:
        set_duration(message.settings.recency_half_life, settings.recency_half_life)
    if settings.default_ttl is not None:
        set_duration(message.settings.default_ttl, settings.default_ttl)
    if settings.feed_retention is not None:
        set_duration(message.settings.feed_retention, settings.feed_retention)
    if statistics is not None:
        message.statistics.CopyFrom(_statistics_to_proto(statistics))
    return message


def _statistics_to_proto(statistics: NamespaceStatistics) -> pb.NamespaceStatistics:
    return pb.NamespaceStatistics(
        memory_count=statistics.memories,
        text_bytes=statistics.text_bytes,
        vector_count=statistics.vectors,
        unencoded_count=statistics.unencoded,
        unanalyzed_count=statistics.unanalyzed,
        token_vector_count=statistics.token_texts,
        token_bytes=statistics.token_bytes,
        tenant_token_byte_limit=statistics.tenant_limit.token_bytes,
        tenant_token_byte_count=statistics.tenant_token_bytes,
        session_count=statistics.sessions,
        term_count=statistics.terms,
        tenant_memory_limit=statistics.tenant_limit.memories,
        tenant_byte_limit=statistics.tenant_limit.text_bytes,
        tenant_memory_count=statistics.tenant_memories,
        tenant_byte_count=statistics.tenant_bytes,
    )
