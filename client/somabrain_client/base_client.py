"""Base class of the client's parts: channel, stubs and paging."""

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
        use_http_proxy: bool = False,
        traceparent: Callable[[], str] | None = None,
    ) -> None:
        """Prepare a channel, which connects on first use.

        Args:
            address: `host:port`, or a gRPC target.
            token: a bearer token, the path of a file that contains one (read again for each attempt), or a callable;
                None: calls carry no token.
            deadline_s: maximum duration of a call in seconds, retries included; streams have no deadline.
            retry: retry policy; None: the default policy.
            tls: TLS settings; None: plain text, for loopback and for meshes that encrypt.
            use_http_proxy: connect through the proxy that the environment names (`grpc_proxy`, `https_proxy` or
                `http_proxy`, except hosts of `no_grpc_proxy` or `no_proxy`); False: ignore these variables.
            traceparent: returns the W3C trace context that a call continues, called at each attempt; empty or None:
                calls carry no trace context.

        Raises:
            RuntimeError: a client was created before this process was forked.
        """
        self._transport = Transport(
            address,
            token,
            deadline_s,
            retry or RetryPolicy(),
            tls,
            use_http_proxy=use_http_proxy,
            traceparent=traceparent,
        )
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
        """Counters of calls, attempts and unavailable servers so far."""
        return self._transport.attempts

    async def _pages(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Page],
        request: Request,
        items: Callable[[Page], Iterable[Item]],
    ) -> AsyncGenerator[Item, None]:
        """Yield the items of all pages; fetch each page after the previous one was consumed."""
        while True:
            page = await self._transport.call(method, request)
            for item in items(page):
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


def namespace_name(namespace: str) -> str:
    """Return the resource name `namespaces/{namespace}`, given either the id or the name."""
    return namespace if namespace.startswith("namespaces/") else f"namespaces/{namespace}"


def key_name(namespace: str, key: str) -> str:
    """Return the name of the memory with this key, for every argument that is a memory's name."""
    return f"{namespace_name(namespace)}/keys/{key}"
