"""The typed, asynchronous client. It holds no cache: what it answers is what the service answers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType

import grpc

from somabrain.memory.v1 import (
    memory_pb2,
    memory_service_pb2,
    memory_service_pb2_grpc,
    namespace_service_pb2,
    namespace_service_pb2_grpc,
)
from somabrain_client.retry import Attempts, RetryPolicy
from somabrain_client.tokens import TokenSource
from somabrain_client.transport import Transport
from somabrain_client.values import (
    Answer,
    Filter,
    Kind,
    Memory,
    Namespace,
    duration,
    read_answer,
    read_memory,
    read_namespace,
    timestamp,
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
        request = memory_service_pb2.RememberRequest(
            parent=parent(namespace),
            memory=memory_pb2.Memory(
                text=text,
                kind=memory_pb2.MemoryKind.ValueType(kind.value),
                session=session,
                session_position=session_position,
                subject=subject,
                labels=labels or {},
                event_time=timestamp(event_time),
                salience=salience,
                expire_time=timestamp(expire_time),
                ttl=duration(ttl),
                pinned=pinned,
            ),
            vector=None if vector is None else memory_pb2.Vector(values=vector),
            request_id=request_id or uuid.uuid4().hex,
        )
        response = await self._transport.call(self._memories.Remember, request)
        return read_memory(response.memory)

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

    async def forget(self, name: str, *, etag: str = "", allow_missing: bool = False) -> None:
        """Forget one memory for good."""
        request = memory_service_pb2.ForgetMemoryRequest(
            name=name, etag=etag, request_id=uuid.uuid4().hex, allow_missing=allow_missing
        )
        await self._transport.call(self._memories.ForgetMemory, request)


def parent(namespace: str) -> str:
    """Return `namespaces/{namespace}` of either form."""
    return namespace if namespace.startswith("namespaces/") else f"namespaces/{namespace}"
