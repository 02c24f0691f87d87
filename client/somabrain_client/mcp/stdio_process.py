"""The MCP server over stdio, for a client on this machine that starts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mcp.server.stdio import stdio_server

from somabrain_client.credentials import TokenSource
from somabrain_client.mcp.embedded_service import DEFAULT_NAMESPACE, Connect, embedded_client, embedded_service
from somabrain_client.mcp.server import ToolServer
from somabrain_client.memory_client import MemoryClient
from somabrain_client.tls import Tls


@dataclass(frozen=True, slots=True)
class Connection:
    """Address, token and TLS of a memory service. `token` None: calls carry no token."""

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
    """Serve until stdin ends, with its own memory service, which is started and stopped.

    The tools are listed at once; a call waits until the service has started, which takes some seconds the first time.

    Raises:
        ConfigurationError: the service is not installed.
    """
    async with embedded_service(data_dir) as address, embedded_client(address, namespace, deadline_s) as connect:
        await _serve(connect, namespace or DEFAULT_NAMESPACE)


async def _serve(connect: Connect, namespace: str | None) -> None:
    server = ToolServer(connect, namespace).sdk
    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())
