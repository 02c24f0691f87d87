"""NamespaceService. Methods that are missing here stand in `interceptors.contract`, which refuses them by name."""

from __future__ import annotations

from typing import TypeAlias

import grpc.aio
from google.protobuf.message import Message

from somabrain.memory.v1 import namespace_service_pb2 as pb
from somabrain.memory.v1 import namespace_service_pb2_grpc
from somabrain_service.commands.create_namespace import create_namespace
from somabrain_service.commands.services import Services
from somabrain_service.servicers.namespaces import read_draft, write_namespace
from somabrain_service.servicers.tenant import calling_tenant

Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"


class NamespaceServicer(namespace_service_pb2_grpc.NamespaceServiceServicer):
    """What a tenant keeps apart."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def CreateNamespace(  # noqa: N802
        self, request: pb.CreateNamespaceRequest, context: Context
    ) -> pb.CreateNamespaceResponse:
        """Make a namespace."""
        made = await create_namespace(
            self._services, calling_tenant(), read_draft(request), request_id=request.request_id
        )
        return pb.CreateNamespaceResponse(namespace=write_namespace(made))
