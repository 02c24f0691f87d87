"""The typed, asynchronous client. It holds no cache: what it answers is what the service answers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from types import TracebackType

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from somabrain.memory.v1 import (
    memory_pb2,
    memory_service_pb2,
    memory_service_pb2_grpc,
    namespace_service_pb2,
    namespace_service_pb2_grpc,
)
from somabrain_client.errors import CallError, from_status
from somabrain_client.feed import Change, Checkpoint, ExportPage, read_event, read_page
from somabrain_client.retry import Attempts, RetryPolicy
from somabrain_client.tokens import TokenSource
from somabrain_client.transport import Transport
from somabrain_client.values import (
    UNCHANGED,
    Answer,
    Draft,
    Filter,
    Kind,
    Memory,
    Namespace,
    Unchanged,
    duration,
    read_answer,
    read_memory,
    read_namespace,
    timestamp,
    write_draft,
    write_filter,
)

DEADLINE_S = 15.0


class MemoryClient:
    """A connection to the memory service, for one event loop. Use it in `async with`.

    Every method raises a `CallError` of `somabrain_client.errors`. A write that was sent twice is kept once: each
    carries a request id, which retries repeat.
    """

    def __init__(
        self,
        address: str,
        *,
        token: TokenSource | None = None,
        deadline_s: float = DEADLINE_S,
        retry: RetryPolicy | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """Connect on first use.

        Args:
            address: `host:port`, or a gRPC target.
            token: a bearer token, a file that holds one (read again for each attempt), or a callable.
            deadline_s: how long a call may take, retries included.
            retry: None: the default policy.
            credentials: TLS; None: none, for loopback and for meshes that encrypt by themselves.
        """
        self._transport = Transport(address, token, deadline_s, retry or RetryPolicy(), credentials)
        self._memories = memory_service_pb2_grpc.MemoryServiceStub(self._transport.channel)
        self._namespaces = namespace_service_pb2_grpc.NamespaceServiceStub(self._transport.channel)

    async def __aenter__(self) -> MemoryClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    @property
    def attempts(self) -> Attempts:
        """What happened underneath the calls so far: attempts, and how many found nobody."""
        return self._transport.attempts

    async def create_namespace(
        self,
        namespace: str,
        *,
        display_name: str = "",
        language: str = "",
        encoder: str = "",
        recency_half_life: timedelta | None = None,
        default_ttl: timedelta | None = None,
    ) -> Namespace:
        """Make a namespace; what is not said has the server's default."""
        request = namespace_service_pb2.CreateNamespaceRequest(
            namespace_id=namespace.removeprefix("namespaces/"),
            namespace=namespace_service_pb2.Namespace(
                display_name=display_name,
                settings=namespace_service_pb2.NamespaceSettings(
                    language=language,
                    encoder=encoder,
                    recency_half_life=duration(recency_half_life),
                    default_ttl=duration(default_ttl),
                ),
            ),
            request_id=uuid.uuid4().hex,
        )
        response = await self._transport.call(self._namespaces.CreateNamespace, request)
        return read_namespace(response.namespace)

    async def get_namespace(self, namespace: str) -> Namespace:
        """Return a namespace with its statistics."""
        request = namespace_service_pb2.GetNamespaceRequest(name=parent(namespace))
        return read_namespace((await self._transport.call(self._namespaces.GetNamespace, request)).namespace)

    async def list_namespaces(self, *, page_size: int = 0) -> AsyncIterator[Namespace]:
        """Yield the tenant's namespaces in the order of their names; pages are fetched as they are needed."""
        request = namespace_service_pb2.ListNamespacesRequest(page_size=page_size)
        while True:
            page = await self._transport.call(self._namespaces.ListNamespaces, request)
            for message in page.namespaces:
                yield read_namespace(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def update_namespace(
        self,
        namespace: str,
        *,
        display_name: str | Unchanged = UNCHANGED,
        recency_half_life: timedelta | Unchanged | None = UNCHANGED,
        default_ttl: timedelta | Unchanged | None = UNCHANGED,
        etag: str = "",
    ) -> Namespace:
        """Change what is given. None takes a setting away; `etag` refuses the change when another one came between."""
        message = namespace_service_pb2.Namespace(name=parent(namespace), etag=etag)
        mask = FieldMask()
        if not isinstance(display_name, Unchanged):
            message.display_name = display_name
            mask.paths.append("display_name")
        if not isinstance(recency_half_life, Unchanged):
            mask.paths.append("settings.recency_half_life")
            if recency_half_life is not None:
                message.settings.recency_half_life.FromTimedelta(recency_half_life)
        if not isinstance(default_ttl, Unchanged):
            mask.paths.append("settings.default_ttl")
            if default_ttl is not None:
                message.settings.default_ttl.FromTimedelta(default_ttl)
        request = namespace_service_pb2.UpdateNamespaceRequest(
            namespace=message, update_mask=mask, request_id=uuid.uuid4().hex
        )
        return read_namespace((await self._transport.call(self._namespaces.UpdateNamespace, request)).namespace)

    async def delete_namespace(self, namespace: str, *, etag: str = "", allow_missing: bool = False) -> None:
        """Delete a namespace and everything in it, for good."""
        request = namespace_service_pb2.DeleteNamespaceRequest(
            name=parent(namespace), etag=etag, request_id=uuid.uuid4().hex, allow_missing=allow_missing
        )
        await self._transport.call(self._namespaces.DeleteNamespace, request)

    async def erase_subject(self, namespace: str, subject: str) -> int:
        """Forget, for good, every memory about a subject; return how many there were."""
        request = namespace_service_pb2.EraseSubjectRequest(
            parent=parent(namespace), subject=subject, request_id=uuid.uuid4().hex
        )
        return (await self._transport.call(self._namespaces.EraseSubject, request)).erased_count

    async def remember(
        self,
        namespace: str,
        text: str,
        *,
        kind: Kind = Kind.EPISODIC,
        session: str = "",
        session_position: int | None = None,
        subject: str = "",
        labels: Mapping[str, str] | None = None,
        event_time: datetime | None = None,
        salience: float | None = None,
        expire_time: datetime | None = None,
        ttl: timedelta | None = None,
        pinned: bool = False,
        vector: Sequence[float] | None = None,
        request_id: str = "",
    ) -> Memory:
        """Keep a text. When this returns, it is durable and the next recall finds it.

        What is left out has the contract's default. `vector` is the caller's own, of the namespace's encoder; without
        it the server makes one. `request_id` names the write across calls; without it each call is its own.
        """
        draft = Draft(
            text=text,
            kind=kind,
            session=session,
            session_position=session_position,
            subject=subject,
            labels=labels or {},
            event_time=event_time,
            salience=salience,
            expire_time=expire_time,
            ttl=ttl,
            pinned=pinned,
            vector=vector,
            request_id=request_id,
        )
        request = write_draft(draft, parent(namespace))
        response = await self._transport.call(self._memories.Remember, request)
        return read_memory(response.memory)

    async def batch_remember(self, namespace: str, drafts: Sequence[Draft]) -> tuple[Memory | CallError, ...]:
        """Keep at most 500 texts of 3 MiB in all, each on its own: the memory, or why it was not kept, in their order.

        A draft without a request id is a write of its own in each call.
        """
        request = memory_service_pb2.BatchRememberRequest(
            parent=parent(namespace), requests=[write_draft(draft, "") for draft in drafts]
        )
        response = await self._transport.call(self._memories.BatchRemember, request)
        return tuple(
            from_status(result.error) if result.HasField("error") else read_memory(result.memory)
            for result in response.results
        )

    async def recall(
        self,
        namespace: str,
        query: str = "",
        *,
        vector: Sequence[float] | None = None,
        top_k: int = 0,
        where: Filter | None = None,
        min_score: float | None = None,
        explain: bool = False,
    ) -> Answer:
        """Find the memories that answer best; `explain` adds how each score came to be."""
        request = memory_service_pb2.RecallRequest(
            parent=parent(namespace),
            query=query,
            vector=None if vector is None else memory_pb2.Vector(values=vector),
            top_k=top_k,
            filter=write_filter(where),
            min_score=min_score,
            explain=explain,
        )
        return read_answer(await self._transport.call(self._memories.Recall, request))

    async def get(self, name: str) -> Memory:
        """Return one memory by name."""
        request = memory_service_pb2.GetMemoryRequest(name=name)
        return read_memory((await self._transport.call(self._memories.GetMemory, request)).memory)

    async def list(
        self, namespace: str, *, where: Filter | None = None, order_by: str = "", page_size: int = 0
    ) -> AsyncIterator[Memory]:
        """Yield memories, oldest first unless `order_by` says otherwise; pages are fetched as they are needed."""
        request = memory_service_pb2.ListMemoriesRequest(
            parent=parent(namespace), filter=write_filter(where), order_by=order_by, page_size=page_size
        )
        while True:
            page = await self._transport.call(self._memories.ListMemories, request)
            for message in page.memories:
                yield read_memory(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def update(
        self,
        name: str,
        *,
        text: str | None = None,
        kind: Kind | None = None,
        session: str | None = None,
        session_position: int | None = None,
        subject: str | None = None,
        labels: Mapping[str, str] | None = None,
        event_time: datetime | None = None,
        salience: float | None = None,
        expire_time: datetime | None = None,
        ttl: timedelta | None = None,
        pinned: bool | None = None,
        clear: Sequence[str] = (),
        vector: Sequence[float] | None = None,
        etag: str = "",
        request_id: str = "",
    ) -> Memory:
        """Change what is given; None leaves a field as it is, and `clear` names fields to set to their defaults.

        What the memory was becomes a revision. `vector` is the caller's own for the changed text. With an `etag` the
        memory is changed only if it is the current one.
        """
        given = {
            "text": text,
            "kind": kind,
            "session": session,
            "session_position": session_position,
            "subject": subject,
            "labels": labels,
            "event_time": event_time,
            "salience": salience,
            "expire_time": expire_time,
            "ttl": ttl,
            "pinned": pinned,
        }
        changed = [field for field, value in given.items() if value is not None]
        request = memory_service_pb2.UpdateMemoryRequest(
            memory=memory_pb2.Memory(
                name=name,
                text=text or "",
                kind=memory_pb2.MemoryKind.ValueType(kind.value if kind else 0),
                session=session or "",
                session_position=session_position,
                subject=subject or "",
                labels=labels or {},
                event_time=timestamp(event_time),
                salience=salience,
                expire_time=timestamp(expire_time),
                ttl=duration(ttl),
                pinned=bool(pinned),
                etag=etag,
            ),
            update_mask=FieldMask(paths=[*changed, *clear]),
            vector=None if vector is None else memory_pb2.Vector(values=vector),
            request_id=request_id or uuid.uuid4().hex,
        )
        return read_memory((await self._transport.call(self._memories.UpdateMemory, request)).memory)

    async def revisions(self, name: str, *, page_size: int = 0) -> AsyncIterator[Memory]:
        """Yield what a memory was before, newest first; pages are fetched as they are needed."""
        request = memory_service_pb2.ListRevisionsRequest(parent=name, page_size=page_size)
        while True:
            page = await self._transport.call(self._memories.ListRevisions, request)
            for message in page.revisions:
                yield read_memory(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def forget(self, name: str, *, etag: str = "", allow_missing: bool = False) -> None:
        """Forget one memory for good."""
        request = memory_service_pb2.ForgetMemoryRequest(
            name=name, etag=etag, request_id=uuid.uuid4().hex, allow_missing=allow_missing
        )
        await self._transport.call(self._memories.ForgetMemory, request)

    async def batch_forget(
        self, namespace: str, names: Sequence[str], *, allow_missing: bool = False
    ) -> tuple[CallError | None, ...]:
        """Forget at most 500 memories, each on its own: None, or why it was not forgotten, in their order."""
        request = memory_service_pb2.BatchForgetRequest(
            parent=parent(namespace),
            requests=[
                memory_service_pb2.ForgetMemoryRequest(
                    name=name, request_id=uuid.uuid4().hex, allow_missing=allow_missing
                )
                for name in names
            ],
        )
        response = await self._transport.call(self._memories.BatchForget, request)
        return tuple(from_status(result.status) if result.status.code else None for result in response.results)

    async def watch(
        self, namespace: str, *, cursor: str = "", include_memory: bool = False
    ) -> AsyncGenerator[Change | Checkpoint, None]:
        """Yield every change after the cursor (empty: from now on) once, in commit order, without an end.

        It resumes by itself where a server stops. Keep the last event's cursor to go on from in another process.
        From now on means from the first checkpoint, which comes at once.
        """
        request = memory_service_pb2.WatchMemoriesRequest(
            parent=parent(namespace), cursor=cursor, include_memory=include_memory
        )

        def resume(response: memory_service_pb2.WatchMemoriesResponse) -> None:
            request.cursor = response.cursor

        async with aclosing(self._transport.stream(self._memories.WatchMemories, request, resume)) as responses:
            async for response in responses:
                yield read_event(response)

    async def export(
        self, namespace: str, *, where: Filter | None = None, include_vectors: bool = False, resume_token: str = ""
    ) -> AsyncGenerator[ExportPage, None]:
        """Yield all memories as of one version, in pages; it resumes by itself where a server stops.

        What changes meanwhile is left out; a watch from a page's cursor tells of it.
        """
        request = memory_service_pb2.ExportMemoriesRequest(
            parent=parent(namespace),
            filter=write_filter(where),
            include_vectors=include_vectors,
            resume_token=resume_token,
        )

        def resume(response: memory_service_pb2.ExportMemoriesResponse) -> None:
            request.resume_token = response.resume_token

        async with aclosing(self._transport.stream(self._memories.ExportMemories, request, resume)) as responses:
            async for response in responses:
                yield read_page(response)


def parent(namespace: str) -> str:
    """Return `namespaces/{namespace}` of either form."""
    return namespace if namespace.startswith("namespaces/") else f"namespaces/{namespace}"
