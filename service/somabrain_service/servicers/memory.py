"""MemoryService. Methods that are missing here stand in `interceptors.contract`, which refuses them by name."""

from __future__ import annotations

from typing import TypeAlias

import grpc.aio
from google.protobuf.message import Message

from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain.memory.v1 import memory_service_pb2_grpc
from somabrain_service.commands.forget_memory import forget_memory
from somabrain_service.commands.get_memory import get_memory
from somabrain_service.commands.list_memories import list_memories
from somabrain_service.commands.recall_memories import recall_memories
from somabrain_service.commands.remember_memory import remember_memory
from somabrain_service.commands.services import Services
from somabrain_service.domain.names import MemoryName, NamespaceName
from somabrain_service.domain.pages import ListQuery, Order
from somabrain_service.servicers.memories import read_draft, read_filter, read_vector, write_memory
from somabrain_service.servicers.recall import read_query, write_answer
from somabrain_service.servicers.tenant import calling_tenant

Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"


class MemoryServicer(memory_service_pb2_grpc.MemoryServiceServicer):
    """Storing, finding and forgetting."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def Remember(self, request: pb.RememberRequest, context: Context) -> pb.RememberResponse:  # noqa: N802
        """Keep one memory."""
        kept = await remember_memory(
            self._services,
            calling_tenant(),
            NamespaceName.parse(request.parent),
            read_draft(request.memory),
            vector=read_vector(request),
            request_id=request.request_id,
        )
        return pb.RememberResponse(memory=write_memory(kept.memory), consistency_token=kept.consistency_token)

    async def Recall(self, request: pb.RecallRequest, context: Context) -> pb.RecallResponse:  # noqa: N802
        """Find the memories that answer best."""
        answer = await recall_memories(self._services, calling_tenant(), read_query(request))
        return write_answer(answer, explain=request.explain)

    async def GetMemory(self, request: pb.GetMemoryRequest, context: Context) -> pb.GetMemoryResponse:  # noqa: N802
        """Return one memory."""
        memory = await get_memory(
            self._services,
            calling_tenant(),
            MemoryName.parse(request.name),
            consistency_token=request.consistency_token,
        )
        return pb.GetMemoryResponse(memory=write_memory(memory))

    async def ListMemories(  # noqa: N802
        self, request: pb.ListMemoriesRequest, context: Context
    ) -> pb.ListMemoriesResponse:
        """Return a page of memories."""
        query = ListQuery(
            parent=NamespaceName.parse(request.parent),
            page_size=request.page_size,
            page_token=request.page_token,
            filter=read_filter(request.filter),
            order=Order.parse(request.order_by),
            consistency_token=request.consistency_token,
        )
        page = await list_memories(self._services, calling_tenant(), query)
        return pb.ListMemoriesResponse(
            memories=[write_memory(memory) for memory in page.memories], next_page_token=page.next_page_token
        )

    async def ForgetMemory(  # noqa: N802
        self, request: pb.ForgetMemoryRequest, context: Context
    ) -> pb.ForgetMemoryResponse:
        """Forget one memory for good."""
        token = await forget_memory(
            self._services,
            calling_tenant(),
            MemoryName.parse(request.name),
            etag=request.etag,
            request_id=request.request_id,
            allow_missing=request.allow_missing,
        )
        return pb.ForgetMemoryResponse(consistency_token=token)
