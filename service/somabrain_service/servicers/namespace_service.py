"""Servicer of NamespaceService."""

from __future__ import annotations

from typing import TypeAlias

import grpc.aio
from google.protobuf.message import Message

from somabrain.memory.v1 import namespace_service_pb2 as pb
from somabrain.memory.v1 import namespace_service_pb2_grpc
from somabrain_service.authn.tenant import caller_tenant
from somabrain_service.commands.create_namespace import create_namespace
from somabrain_service.commands.delete_namespace import delete_namespace
from somabrain_service.commands.erase_subject import erase_subject
from somabrain_service.commands.get_namespace import get_namespace
from somabrain_service.commands.list_namespaces import list_namespaces
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.update_namespace import update_namespace
from somabrain_service.domain.names import NamespaceName
from somabrain_service.domain.pagination import NamespaceQuery
from somabrain_service.servicers.convert.namespace import (
    namespace_change_from_proto,
    namespace_draft_from_proto,
    namespace_to_proto,
)

Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"


class NamespaceServicer(namespace_service_pb2_grpc.NamespaceServiceServicer):
    """Create, read, update and delete namespaces, and erase subjects."""

    def __init__(self, app_context: AppContext) -> None:
        self._app_context = app_context

    async def CreateNamespace(  # noqa: N802
        self, request: pb.CreateNamespaceRequest, context: Context
    ) -> pb.CreateNamespaceResponse:
        """Create a namespace."""
        namespace = await create_namespace(
            self._app_context, caller_tenant(), namespace_draft_from_proto(request), request_id=request.request_id
        )
        return pb.CreateNamespaceResponse(namespace=namespace_to_proto(namespace))

    async def GetNamespace(  # noqa: N802
        self, request: pb.GetNamespaceRequest, context: Context
    ) -> pb.GetNamespaceResponse:
        """Return a namespace with its statistics."""
        name = NamespaceName.parse(request.name, "name")
        namespace, statistics = await get_namespace(self._app_context, caller_tenant(), name)
        return pb.GetNamespaceResponse(namespace=namespace_to_proto(namespace, statistics))

    async def ListNamespaces(  # noqa: N802
        self, request: pb.ListNamespacesRequest, context: Context
    ) -> pb.ListNamespacesResponse:
        """Return a page of namespaces."""
        query = NamespaceQuery(request.page_size, request.page_token)
        page = await list_namespaces(self._app_context, caller_tenant(), query)
        return pb.ListNamespacesResponse(
            namespaces=[namespace_to_proto(namespace) for namespace in page.namespaces],
            next_page_token=page.next_page_token,
        )

    async def UpdateNamespace(  # noqa: N802
        self, request: pb.UpdateNamespaceRequest, context: Context
    ) -> pb.UpdateNamespaceResponse:
        """Change a namespace's settings."""
        namespace = await update_namespace(
            self._app_context, caller_tenant(), namespace_change_from_proto(request), request_id=request.request_id
        )
        return pb.UpdateNamespaceResponse(namespace=namespace_to_proto(namespace))

    async def DeleteNamespace(  # noqa: N802
        self, request: pb.DeleteNamespaceRequest, context: Context
    ) -> pb.DeleteNamespaceResponse:
        """Delete a namespace with everything in it."""
        await delete_namespace(
            self._app_context,
            caller_tenant(),
            NamespaceName.parse(request.name, "name"),
            etag=request.etag,
            request_id=request.request_id,
            allow_missing=request.allow_missing,
        )
        return pb.DeleteNamespaceResponse()

    async def EraseSubject(  # noqa: N802
        self, request: pb.EraseSubjectRequest, context: Context
    ) -> pb.EraseSubjectResponse:
        """Forget every memory about a subject."""
        result = await erase_subject(
            self._app_context,
            caller_tenant(),
            NamespaceName.parse(request.parent),
            request.subject,
            request_id=request.request_id,
        )
        return pb.EraseSubjectResponse(erased_count=result.count, consistency_token=result.consistency_token)
