"""Namespaces: the separate sets of memories of a tenant."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from datetime import timedelta

from google.protobuf.field_mask_pb2 import FieldMask

from somabrain.memory.v1 import namespace_service_pb2 as pb
from somabrain_client.base_client import BaseClient, namespace_name
from somabrain_client.models import UNSET, Namespace, Unset
from somabrain_client.proto_mapping import duration_to_proto, namespace_from_proto


class Namespaces(BaseClient):
    """Methods of NamespaceService."""

    async def create_namespace(
        self,
        namespace: str,
        *,
        display_name: str = "",
        language: str = "",
        encoder: str = "",
        recency_half_life: timedelta | None = None,
        default_ttl: timedelta | None = None,
        feed_retention: timedelta | None = None,
        content: str = "",
    ) -> Namespace:
        """Create a namespace; arguments that are not given take the server's defaults."""
        request = pb.CreateNamespaceRequest(
            namespace_id=namespace.removeprefix("namespaces/"),
            namespace=pb.Namespace(
                display_name=display_name,
                settings=pb.NamespaceSettings(
                    language=language,
                    encoder=encoder,
                    recency_half_life=duration_to_proto(recency_half_life),
                    default_ttl=duration_to_proto(default_ttl),
                    feed_retention=duration_to_proto(feed_retention),
                    content=content,
                ),
            ),
            request_id=uuid.uuid4().hex,
        )
        response = await self._transport.call(self._namespaces.CreateNamespace, request)
        return namespace_from_proto(response.namespace)

    async def get_namespace(self, namespace: str) -> Namespace:
        """Return a namespace with its statistics."""
        request = pb.GetNamespaceRequest(name=namespace_name(namespace))
        return namespace_from_proto((await self._transport.call(self._namespaces.GetNamespace, request)).namespace)

    async def list_namespaces(self, *, page_size: int = 0) -> AsyncGenerator[Namespace, None]:
        """Yield the tenant's namespaces in the order of their names; fetch pages as needed."""
        request = pb.ListNamespacesRequest(page_size=page_size)
        async for message in self._pages(self._namespaces.ListNamespaces, request, lambda page: page.namespaces):
            yield namespace_from_proto(message)

    async def update_namespace(
        self,
        namespace: str,
        *,
        display_name: str | Unset = UNSET,
        language: str | Unset = UNSET,
        encoder: str | Unset = UNSET,
        recency_half_life: timedelta | Unset | None = UNSET,
        default_ttl: timedelta | Unset | None = UNSET,
        feed_retention: timedelta | Unset | None = UNSET,
        content: str | Unset = UNSET,
        etag: str = "",
    ) -> Namespace:
        """Update the given fields; UNSET leaves a field unchanged, None removes a setting.

        With an `etag` the update fails if the namespace was changed since. After a change of language or encoder the
        server reindexes the existing memories; the statistics of `get_namespace` show how many are left.
        """
        message = pb.Namespace(name=namespace_name(namespace), etag=etag)
        mask = FieldMask()
        if not isinstance(display_name, Unset):
            message.display_name = display_name
            mask.paths.append("display_name")
        for name, text in (("language", language), ("encoder", encoder), ("content", content)):
            if not isinstance(text, Unset):
                mask.paths.append(f"settings.{name}")
                setattr(message.settings, name, text)
        for name, period in (
            ("recency_half_life", recency_half_life),
            ("default_ttl", default_ttl),
            ("feed_retention", feed_retention),
        ):
            if not isinstance(period, Unset):
                mask.paths.append(f"settings.{name}")
                if period is not None:
                    getattr(message.settings, name).FromTimedelta(period)
        request = pb.UpdateNamespaceRequest(namespace=message, update_mask=mask, request_id=uuid.uuid4().hex)
        return namespace_from_proto((await self._transport.call(self._namespaces.UpdateNamespace, request)).namespace)

    async def delete_namespace(self, namespace: str, *, etag: str = "", allow_missing: bool = False) -> None:
        """Delete a namespace and everything in it, permanently."""
        request = pb.DeleteNamespaceRequest(
            name=namespace_name(namespace), etag=etag, request_id=uuid.uuid4().hex, allow_missing=allow_missing
        )
        await self._transport.call(self._namespaces.DeleteNamespace, request)

    async def erase_subject(self, namespace: str, subject: str) -> int:
        """Forget every memory about a subject, permanently; return the number of memories."""
        request = pb.EraseSubjectRequest(parent=namespace_name(namespace), subject=subject, request_id=uuid.uuid4().hex)
        return (await self._transport.call(self._namespaces.EraseSubject, request)).erased_count
