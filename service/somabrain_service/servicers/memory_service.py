"""Servicer of MemoryService."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeAlias

import grpc.aio
from google.protobuf.message import Message

from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain.memory.v1 import memory_service_pb2_grpc
from somabrain_service.authn.tenant import caller_tenant
from somabrain_service.commands.batch_forget_memories import batch_forget_memories
from somabrain_service.commands.batch_remember_memories import batch_remember_memories
from somabrain_service.commands.export_memories import export_memories
from somabrain_service.commands.forget_memories import forget_memories
from somabrain_service.commands.forget_memory import forget_memory
from somabrain_service.commands.get_memory import get_memory
from somabrain_service.commands.list_groups import list_groups
from somabrain_service.commands.list_memories import list_memories
from somabrain_service.commands.list_revisions import list_revisions
from somabrain_service.commands.recall_memories import recall_memories
from somabrain_service.commands.remember_memory import remember_memory
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.touch_memory import touch_memory
from somabrain_service.commands.update_memory import update_memory
from somabrain_service.commands.watch_memories import watch_memories
from somabrain_service.domain.names import NamespaceName, parse_memory_ref
from somabrain_service.domain.pagination import GroupField, ListQuery, Order, RevisionQuery
from somabrain_service.servicers.convert.batch import (
    CheckRequest,
    ToStatus,
    forget_item_to_proto,
    forget_items_from_proto,
    remember_item_to_proto,
    remember_items_from_proto,
)
from somabrain_service.servicers.convert.feed import (
    export_page_to_proto,
    export_query_from_proto,
    watch_event_to_proto,
    watch_query_from_proto,
)
from somabrain_service.servicers.convert.field_mask import memory_creation_from_proto, memory_patch_from_proto
from somabrain_service.servicers.convert.group import group_query_from_proto, group_to_proto
from somabrain_service.servicers.convert.memory import (
    filter_from_proto,
    memory_draft_from_proto,
    memory_to_proto,
    vector_from_proto,
)
from somabrain_service.servicers.convert.recall import recall_query_from_proto, recall_result_to_proto
from somabrain_service.servicers.convert.time import duration_from_proto

Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"


class MemoryServicer(memory_service_pb2_grpc.MemoryServiceServicer):
    """Store, recall, change, forget, watch and export memories."""

    def __init__(self, app_context: AppContext, check_request: CheckRequest, to_status: ToStatus) -> None:
        """Initialize. `check_request` and `to_status` do for each item of a batch what interceptors do for a call."""
        self._app_context = app_context
        self._check_request = check_request
        self._to_status = to_status

    async def Remember(self, request: pb.RememberRequest, context: Context) -> pb.RememberResponse:  # noqa: N802
        """Store one memory."""
        result = await remember_memory(
            self._app_context,
            caller_tenant(),
            NamespaceName.parse(request.parent),
            memory_draft_from_proto(request.memory),
            vector=vector_from_proto(request),
            request_id=request.request_id,
        )
        return pb.RememberResponse(memory=memory_to_proto(result.memory), consistency_token=result.consistency_token)

    async def BatchRemember(  # noqa: N802
        self, request: pb.BatchRememberRequest, context: Context
    ) -> pb.BatchRememberResponse:
        """Store many memories, each independently."""
        parent = NamespaceName.parse(request.parent)
        items = remember_items_from_proto(request, self._check_request)
        batch = await batch_remember_memories(self._app_context, caller_tenant(), parent, items)
        return pb.BatchRememberResponse(
            results=[remember_item_to_proto(result, self._to_status) for result in batch.results],
            consistency_token=batch.consistency_token,
        )

    async def Recall(self, request: pb.RecallRequest, context: Context) -> pb.RecallResponse:  # noqa: N802
        """Find the memories that match a query best."""
        query = recall_query_from_proto(request)
        refresh_ttl = duration_from_proto(request, "refresh_ttl", "refresh_ttl")
        result = await recall_memories(self._app_context, caller_tenant(), query, refresh_ttl=refresh_ttl)
        return recall_result_to_proto(result, explain=request.explain)

    async def GetMemory(self, request: pb.GetMemoryRequest, context: Context) -> pb.GetMemoryResponse:  # noqa: N802
        """Return one memory by name or key."""
        memory = await get_memory(
            self._app_context,
            caller_tenant(),
            parse_memory_ref(request.name),
            consistency_token=request.consistency_token,
            refresh_ttl=duration_from_proto(request, "refresh_ttl", "refresh_ttl"),
        )
        return pb.GetMemoryResponse(memory=memory_to_proto(memory))

    async def ListMemories(  # noqa: N802
        self, request: pb.ListMemoriesRequest, context: Context
    ) -> pb.ListMemoriesResponse:
        """Return a page of memories."""
        query = ListQuery(
            parent=NamespaceName.parse(request.parent),
            page_size=request.page_size,
            page_token=request.page_token,
            filter=filter_from_proto(request.filter),
            order=Order.parse(request.order_by),
            consistency_token=request.consistency_token,
        )
        refresh_ttl = duration_from_proto(request, "refresh_ttl", "refresh_ttl")
        page = await list_memories(self._app_context, caller_tenant(), query, refresh_ttl=refresh_ttl)
        return pb.ListMemoriesResponse(
            memories=[memory_to_proto(memory) for memory in page.memories], next_page_token=page.next_page_token
        )

    async def UpdateMemory(  # noqa: N802
        self, request: pb.UpdateMemoryRequest, context: Context
    ) -> pb.UpdateMemoryResponse:
        """Change fields of a memory."""
        ref = parse_memory_ref(request.memory.name, "memory.name")
        result = await update_memory(
            self._app_context,
            caller_tenant(),
            ref,
            memory_patch_from_proto(request),
            etag=request.memory.etag,
            vector=vector_from_proto(request),
            request_id=request.request_id,
            create=memory_creation_from_proto(request, ref),
        )
        return pb.UpdateMemoryResponse(
            memory=memory_to_proto(result.memory), consistency_token=result.consistency_token
        )

    async def TouchMemory(  # noqa: N802
        self, request: pb.TouchMemoryRequest, context: Context
    ) -> pb.TouchMemoryResponse:
        """Renew the life of a memory."""
        ttl = duration_from_proto(request, "ttl", "ttl")
        memory = await touch_memory(self._app_context, caller_tenant(), parse_memory_ref(request.name), ttl)
        return pb.TouchMemoryResponse(memory=memory_to_proto(memory))

    async def ListSessions(  # noqa: N802
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        """Return a page of sessions."""
        query = group_query_from_proto(request, GroupField.SESSION)
        page = await list_groups(self._app_context, caller_tenant(), query)
        return pb.ListSessionsResponse(
            sessions=[group_to_proto(group) for group in page.groups], next_page_token=page.next_page_token
        )

    async def ListSubjects(  # noqa: N802
        self, request: pb.ListSubjectsRequest, context: Context
    ) -> pb.ListSubjectsResponse:
        """Return a page of subjects."""
        query = group_query_from_proto(request, GroupField.SUBJECT)
        page = await list_groups(self._app_context, caller_tenant(), query)
        return pb.ListSubjectsResponse(
            subjects=[group_to_proto(group) for group in page.groups], next_page_token=page.next_page_token
        )

    async def ListRevisions(  # noqa: N802
        self, request: pb.ListRevisionsRequest, context: Context
    ) -> pb.ListRevisionsResponse:
        """Return a page of a memory's revisions."""
        query = RevisionQuery(parse_memory_ref(request.parent, "parent"), request.page_size, request.page_token)
        page = await list_revisions(self._app_context, caller_tenant(), query)
        return pb.ListRevisionsResponse(
            revisions=[memory_to_proto(memory) for memory in page.memories], next_page_token=page.next_page_token
        )

    async def BatchForget(  # noqa: N802
        self, request: pb.BatchForgetRequest, context: Context
    ) -> pb.BatchForgetResponse:
        """Forget many memories, each independently."""
        parent = NamespaceName.parse(request.parent)
        items = forget_items_from_proto(request, self._check_request)
        batch = await batch_forget_memories(self._app_context, caller_tenant(), parent, items)
        return pb.BatchForgetResponse(
            results=[forget_item_to_proto(result, self._to_status) for result in batch.results],
            consistency_token=batch.consistency_token,
        )

    async def ForgetMemory(  # noqa: N802
        self, request: pb.ForgetMemoryRequest, context: Context
    ) -> pb.ForgetMemoryResponse:
        """Permanently forget one memory."""
        consistency_token = await forget_memory(
            self._app_context,
            caller_tenant(),
            parse_memory_ref(request.name),
            etag=request.etag,
            request_id=request.request_id,
            allow_missing=request.allow_missing,
        )
        return pb.ForgetMemoryResponse(consistency_token=consistency_token)

    async def ForgetMemories(  # noqa: N802
        self, request: pb.ForgetMemoriesRequest, context: Context
    ) -> pb.ForgetMemoriesResponse:
        """Permanently forget the memories that match a filter."""
        result = await forget_memories(
            self._app_context,
            caller_tenant(),
            NamespaceName.parse(request.parent),
            filter_from_proto(request.filter),
            max_count=request.max_count,
            dry_run=request.dry_run,
            request_id=request.request_id,
        )
        return pb.ForgetMemoriesResponse(
            forgotten_count=result.forgotten,
            matching_count=result.matching,
            consistency_token=result.consistency_token,
        )

    async def WatchMemories(  # noqa: N802
        self, request: pb.WatchMemoriesRequest, context: Context
    ) -> AsyncGenerator[pb.WatchMemoriesResponse, None]:
        """Stream every change of a namespace."""
        async with aclosing(
            watch_memories(self._app_context, caller_tenant(), watch_query_from_proto(request))
        ) as events:
            async for event in events:
                yield watch_event_to_proto(event)

    async def ExportMemories(  # noqa: N802
        self, request: pb.ExportMemoriesRequest, context: Context
    ) -> AsyncGenerator[pb.ExportMemoriesResponse, None]:
        """Stream all memories of a namespace."""
        async with aclosing(
            export_memories(self._app_context, caller_tenant(), export_query_from_proto(request))
        ) as pages:
            async for page in pages:
                yield export_page_to_proto(page)
