"""The connection that every part of the client calls through."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from types import TracebackType
from typing import Protocol, Self, TypeVar

import grpc
import grpc.aio

from somabrain.memory.v1 import memory_service_pb2_grpc, namespace_service_pb2_grpc
from somabrain_client.credentials import TokenSource
from somabrain_client.retry import Attempts, RetryPolicy
from somabrain_client.tls import Tls
from somabrain_client.transport import Transport

DEFAULT_DEADLINE_S = 15.0


class _PageRequest(Protocol):
    page_token: str


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


Request = TypeVar("Request", bound=_PageRequest)
Page = TypeVar("Page", bound=_Page)
Item = TypeVar("Item")


class BaseClient:
    """A channel with its stubs, for one event loop. Use it in `async with`."""

    def __init__(
        self,
        address: str,
        *,
        token: TokenSource | None = None,
        deadline_s: float = DEFAULT_DEADLINE_S,
        retry: RetryPolicy | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Connect on first use.

        Args:
            address: `host:port`, or a gRPC target.
            token: a bearer token, a file that holds one (read again for each attempt), or a callable.
            deadline_s: how long a call may take, retries included.
            retry: None: the default policy.
            tls: None: plain text, for loopback and for meshes that encrypt by themselves.
        """
        self._transport = Transport(address, token, deadline_s, retry or RetryPolicy(), tls)
        self._memories = memory_service_pb2_grpc.MemoryServiceStub(self._transport.channel)
        self._namespaces = namespace_service_pb2_grpc.NamespaceServiceStub(self._transport.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    @property
    def attempts(self) -> Attempts:
        """What happened underneath the calls so far: attempts, and how many found nobody."""
        return self._transport.attempts

    async def _pages(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Page],
        request: Request,
        items: Callable[[Page], Iterable[Item]],
    ) -> AsyncGenerator[Item, None]:
        """Yield the items of all pages; each page is fetched when the one before has been read."""
        while True:
            page = await self._transport.call(method, request)
            for item in items(page):
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


def namespace_name(namespace: str) -> str:
    """Return `namespaces/{namespace}` of either form."""
    return namespace if namespace.startswith("namespaces/") else f"namespaces/{namespace}"
