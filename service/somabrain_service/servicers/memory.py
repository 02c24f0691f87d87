"""MemoryService. Methods that are missing here stand in `interceptors.contract`, which refuses them by name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeAlias

import grpc.aio
from google.protobuf.message import Message

from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain.memory.v1 import memory_service_pb2_grpc
from somabrain_service.commands.batch_forget_memories import batch_forget_memories
from somabrain_service.commands.batch_remember_memories import batch_remember_memories
from somabrain_service.commands.context import AppContext
from somabrain_service.commands.export_memories import export_memories
from somabrain_service.commands.forget_memory import forget_memory
from somabrain_service.commands.get_memory import get_memory
from somabrain_service.commands.list_memories import list_memories
from somabrain_service.commands.list_revisions import list_revisions
from somabrain_service.commands.recall_memories import recall_memories
from somabrain_service.commands.remember_memory import remember_memory
from somabrain_service.commands.update_memory import update_memory
from somabrain_service.commands.watch_memories import watch_memories
from somabrain_service.domain.names import MemoryName, NamespaceName
from somabrain_service.domain.pagination import ListQuery, Order, RevisionQuery
from somabrain_service.servicers.batches import (
    Check,
    ToStatus,
    read_forget_items,
    read_remember_items,
    write_forgotten,
    write_remembered,
)
from somabrain_service.servicers.feed import read_export, read_watch, write_event, write_export
from somabrain_service.servicers.memories import read_draft, read_filter, read_vector, write_memory
from somabrain_service.servicers.patches import read_patch
from somabrain_service.servicers.recall import read_query, write_answer
from somabrain_service.servicers.tenant import calling_tenant

Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"


class MemoryServicer(memory_service_pb2_grpc.MemoryServiceServicer):
    """Storing, finding and forgetting."""

    def __init__(self, services: AppContext, check: Check, to_status: ToStatus) -> None:
        """Serve. `check` and `to_status` do for each item of a batch what the interceptors do for a call."""
        self._services = services
        self._check = check
        self._to_status = to_status

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

    async def BatchRemember(  # noqa: N802
        self, request: pb.BatchRememberRequest, context: Context
    ) -> pb.BatchRememberResponse:
        """Keep many, each on its own."""
        parent = NamespaceName.parse(request.parent)
        items = read_remember_items(request, self._check)
        kept = await batch_remember_memories(self._services, calling_tenant(), parent, items)
        return pb.BatchRememberResponse(
            results=[write_remembered(result, self._to_status) for result in kept.results],
            consistency_token=kept.consistency_token,
        )

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

    async def UpdateMemory(  # noqa: N802
        self, request: pb.UpdateMemoryRequest, context: Context
    ) -> pb.UpdateMemoryResponse:
        """Change fields of a memory."""
        changed = await update_memory(
            self._services,
            calling_tenant(),
            MemoryName.parse(request.memory.name, "memory.name"),
            read_patch(request),
            etag=request.memory.etag,
            vector=read_vector(request),
            request_id=request.request_id,
        )
        return pb.UpdateMemoryResponse(memory=write_memory(changed.memory), consistency_token=changed.consistency_token)

    async def ListRevisions(  # noqa: N802
        self, request: pb.ListRevisionsRequest, context: Context
    ) -> pb.ListRevisionsResponse:
        """Return a page of a memory's former states."""
        query = RevisionQuery(MemoryName.parse(request.parent, "parent"), request.page_size, request.page_token)
        page = await list_revisions(self._services, calling_tenant(), query)
        return pb.ListRevisionsResponse(
            revisions=[write_memory(memory) for memory in page.memories], next_page_token=page.next_page_token
        )

    async def BatchForget(  # noqa: N802
        self, request: pb.BatchForgetRequest, context: Context
    ) -> pb.BatchForgetResponse:
        """Forget many, each on its own."""
        parent = NamespaceName.parse(request.parent)
        items = read_forget_items(request, self._check)
        forgotten = await batch_forget_memories(self._services, calling_tenant(), parent, items)
        return pb.BatchForgetResponse(
            results=[write_forgotten(result, self._to_status) for result in forgotten.results],
            consistency_token=forgotten.consistency_token,
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

    async def WatchMemories(  # noqa: N802
        self, request: pb.WatchMemoriesRequest, context: Context
    ) -> AsyncGenerator[pb.WatchMemoriesResponse, None]:
        """Stream every change."""
        async with aclosing(watch_memories(self._services, calling_tenant(), read_watch(request))) as events:
            async for event in events:
                yield write_event(event)

    async def ExportMemories(  # noqa: N802
        self, request: pb.ExportMemoriesRequest, context: Context
    ) -> AsyncGenerator[pb.ExportMemoriesResponse, None]:
        """Stream all memories."""
        async with aclosing(export_memories(self._services, calling_tenant(), read_export(request))) as pages:
            async for page in pages:
                yield write_export(page)
