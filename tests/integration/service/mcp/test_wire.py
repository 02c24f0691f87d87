"""The endpoint as bytes: what each revision of MCP demands, without a client. `make mcp-conformance` has more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integration.service.mcp_process import McpProcess, mcp_server

STATELESS = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": STATELESS,
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[McpProcess]:
    """An MCP server without authentication, on loopback; the memory service is never called."""
    with mcp_server(folder, {"auth__mode": "none", "mcp__address": "127.0.0.1:9"}) as running:
        yield running


async def post(server: McpProcess, method: str, params: object = None, **headers: str) -> tuple[int, dict[str, Any]]:
    """Send a request of the stateless revision, in which `headers` replace or remove (empty) what it should have."""
    sent = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": STATELESS,
        "Mcp-Method": method,
        **headers,
    }
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {"_meta": META} if params is None else params}
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.post(server.url, json=body, headers={k: v for k, v in sent.items() if v})
    return answer.status_code, answer.json()


async def test_discovery_and_tool_list_need_no_handshake(server: McpProcess) -> None:
    """One request is enough: no session is given, results are complete, name the server and may be cached."""
    status, discovered = await post(server, "server/discover")
    assert status == 200
    assert discovered["result"]["supportedVersions"] == [STATELESS]
    assert discovered["result"]["capabilities"]["tools"] == {"listChanged": False}
    status, listed = await post(server, "tools/list")
    assert (status, listed["id"], listed["result"]["resultType"]) == (200, 7, "complete")
    assert listed["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "somabrain"
    assert (listed["result"]["ttlMs"], listed["result"]["cacheScope"]) == (3_600_000, "public")


@pytest.mark.parametrize(
    ("method", "params", "headers", "status", "code"),
    [
        ("tools/list", {}, {}, 400, -32602),
        ("tools/list", {"_meta": {"io.modelcontextprotocol/protocolVersion": STATELESS}}, {}, 400, -32602),
        ("tools/list", None, {"Mcp-Method": "tools/call"}, 400, -32020),
        ("tools/list", None, {"Mcp-Method": ""}, 400, -32020),
        ("tools/list", None, {"MCP-Protocol-Version": "1999-01-01"}, 400, -32020),
        ("initialize", None, {}, 404, -32601),
        ("ping", None, {}, 404, -32601),
        ("prompts/list", None, {}, 404, -32601),
        ("no/such", None, {}, 404, -32601),
    ],
)
async def test_protocol_violation_gets_status_and_json_rpc_code(
    server: McpProcess, method: str, params: object, headers: dict[str, str], status: int, code: int
) -> None:
    """HTTP status and JSON-RPC code are those of the revision, and the request's id comes back."""
    answer = await post(server, method, params, **headers)
    assert (answer[0], answer[1]["error"]["code"], answer[1]["id"]) == (status, code, 7), answer


async def test_initialize_creates_no_session(server: McpProcess) -> None:
    """Revision 2025-11-25 on the same endpoint: initialize is answered, and the next request needs nothing from it."""
    accept = {"Accept": "application/json, text/event-stream"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
    async with httpx2.AsyncClient(trust_env=False, headers=accept) as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        answer = await http.post(server.url, json=body)
        assert answer.json()["result"]["protocolVersion"] == "2025-11-25"
        assert "mcp-session-id" not in answer.headers
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await http.post(server.url, json=note)).status_code == 202
        listed = await http.post(
            server.url,
            json={"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
            headers={"MCP-Protocol-Version": "2025-11-25"},
        )
        assert len(listed.json()["result"]["tools"]) == 7
        assert (
            await http.post(server.url, content=b"{", headers={"Content-Type": "application/json"})
        ).status_code == 400
