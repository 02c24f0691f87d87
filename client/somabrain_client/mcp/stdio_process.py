"""The MCP server over stdio, for a client on this machine that starts it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mcp.server.stdio import stdio_server

from somabrain_client.credentials import TokenSource
from somabrain_client.errors import AlreadyExistsError
from somabrain_client.mcp.embedded_service import embedded_service
from somabrain_client.mcp.server import ToolServer
from somabrain_client.memory_client import MemoryClient
from somabrain_client.tls import Tls

DEFAULT_NAMESPACE = "memories"
"""Namespace of an embedded service, which is created if it does not exist."""

Connect = Callable[[], Awaitable[MemoryClient]]


@dataclass(frozen=True, slots=True)
class Connection:
    """Address and token of a memory service. `token` None: calls carry no token."""

    address: str
    token: TokenSource | None
    tls: Tls | None
    deadline_s: float
    use_http_proxy: bool = False

    def client(self) -> MemoryClient:
        """Return a client, which connects on first use."""
        return MemoryClient(
            self.address,
            token=self.token,
            deadline_s=self.deadline_s,
            tls=self.tls,
            use_http_proxy=self.use_http_proxy,
        )


async def serve(connection: Connection, namespace: str | None) -> None:
    """Serve until stdin ends, with a memory service that runs elsewhere."""
    async with connection.client() as client:

        async def connect() -> MemoryClient:
            return client

        await _serve(connect, namespace)


async def serve_embedded(data_dir: Path | None, namespace: str | None, deadline_s: float) -> None:
    """Serve until stdin ends, with a memory service of its own, which is started and stopped.

    The tools are listed at once; a call waits until the service has started, which takes some seconds the first time.

    Raises:
        ConfigurationError: the service is not installed.
    """
    async with embedded_service(data_dir) as address, embedded_client(address, namespace, deadline_s) as connect:
        await _serve(connect, namespace or DEFAULT_NAMESPACE)


@asynccontextmanager
async def embedded_client(
    address: asyncio.Future[str], namespace: str | None, deadline_s: float
) -> AsyncIterator[Connect]:
    """Yield what returns the client of an embedded service, once it has started and its namespace exists."""

    async def open_client() -> MemoryClient:
        client = MemoryClient(await asyncio.shield(address), deadline_s=deadline_s)
        try:
            await client.create_namespace(namespace or DEFAULT_NAMESPACE)
        except AlreadyExistsError:
            pass
        except BaseException:
            await client.__aexit__(None, None, None)
            raise
        return client

    opening = asyncio.create_task(open_client())
    try:
        yield lambda: asyncio.shield(opening)
    finally:
        opening.cancel()
        done = (await asyncio.gather(opening, return_exceptions=True))[0]
        if isinstance(done, MemoryClient):
            await done.__aexit__(None, None, None)


async def _serve(connect: Connect, namespace: str | None) -> None:
    server = ToolServer(connect, namespace).sdk
    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())
