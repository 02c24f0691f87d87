"""The MCP server over HTTP as its pod runs it: a separate process, found by the ports that it logs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.integration.service.service_process import ServiceProcess, environment

SCRIPT = Path(sys.executable).with_name("somabrain")
REVISIONS = {"2026-07-28": "auto", "2025-11-25": "legacy"}
"""The SDK's mode for each revision of the protocol."""


@dataclass
class McpProcess(ServiceProcess):
    """A started MCP server; `url` is its endpoint."""

    url: str = ""

    def authorized_client(self, token: str | None, **headers: str) -> httpx2.AsyncClient:
        """An HTTP client whose requests carry a token."""
        bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx2.AsyncClient(headers={**bearer, **headers}, timeout=30, trust_env=False)

    @asynccontextmanager
    async def client(self, token: str | None, revision: str = "2026-07-28") -> AsyncIterator[Client]:
        """The SDK's client, speaking one of the revisions."""
        async with (
            self.authorized_client(token) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=REVISIONS[revision]) as client,
        ):
            assert client.protocol_version == revision
            yield client


@contextmanager
def mcp_server(folder: Path, settings: Mapping[str, object], *arguments: str) -> Iterator[McpProcess]:
    """Start `somabrain mcp --http` on free ports and wait until it listens; kill it at the end."""
    log = folder / f"mcp-{len(list(folder.glob('mcp-*.log')))}.log"
    ports = {"mcp__port": 0, "http__port": 0, "http__host": "127.0.0.1", "mcp__shutdown_delay_s": 0}
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", SCRIPT, "mcp", "--http", *arguments],
            env=environment({**ports, **settings}),
            stdout=out,
            stderr=out,
        )
    running = McpProcess(process, log)
    try:
        record = next(each for each in iter(lambda: running.wait_for_event("listening"), None) if "mcp_port" in each)
        running.address = f"127.0.0.1:{record['mcp_port']}"
        running.url = f"http://{running.address}{record['path']}"
        running.http = f"http://127.0.0.1:{record['http_port']}"
        yield running
    finally:
        process.kill()
        process.wait()
