"""The MCP server over HTTP: the SDK's client over two replicas in turns, isolation, quotas and refusals."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent

from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer
from tests.integration.service.mcp_process import REVISIONS, SCRIPT, McpProcess, mcp_server
from tests.integration.service.service_process import ServiceProcess, environment, service

RESOURCE = "https://memory.example.com/mcp"


@pytest.fixture(scope="module")
def one_resource(brain: ServiceProcess, settings: dict[str, object]) -> dict[str, object]:
    """Settings of an MCP server that is one resource with the memory service."""
    auth = {name: value for name, value in settings.items() if name.startswith("auth__")}
    return {
        **auth,
        "mcp__address": brain.address,
        "mcp__resource_url": RESOURCE,
        "mcp__same_resource": True,
        "mcp__namespace": "agent",
    }


@pytest.fixture(scope="module")
def replicas(folder: Path, one_resource: dict[str, object]) -> Iterator[tuple[McpProcess, McpProcess]]:
    with mcp_server(folder, one_resource) as first, mcp_server(folder, one_resource) as second:
        yield first, second


@pytest.fixture(scope="module")
def server(replicas: tuple[McpProcess, McpProcess]) -> McpProcess:
    return replicas[0]


class RoundRobinTransport(httpx2.AsyncHTTPTransport):
    """Sends each request to the next of several servers."""

    def __init__(self, servers: tuple[McpProcess, ...]) -> None:
        super().__init__()
        self._next = itertools.cycle(servers)
        self.sent: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        address = next(self._next).address
        self.sent.append(address)
        host, _, port = address.partition(":")
        request.url = request.url.copy_with(host=host, port=int(port))
        return await super().handle_async_request(request)


@asynccontextmanager
async def round_robin(
    servers: tuple[McpProcess, ...], token: str, revision: str
) -> AsyncIterator[tuple[Client, RoundRobinTransport]]:
    transport = RoundRobinTransport(servers)
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, transport=transport) as http,
        Client(streamable_http_client(servers[0].url, http_client=http), mode=REVISIONS[revision]) as client,
    ):
        yield client, transport


def text(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def call(client: Client, tool: str, **arguments: object) -> dict[str, Any]:
    """Call a tool that succeeds; both forms of its result are the same, and match the schema (the SDK checks it)."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text(result)
    assert json.loads(text(result)) == result.structured_content
    return dict(result.structured_content)


async def refused(client: Client, tool: str, **arguments: object) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return text(result)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_round_trip_over_two_alternating_replicas(
    replicas: tuple[McpProcess, McpProcess], connect: Connect, idp: Issuer, revision: str
) -> None:
    """A replica finds, changes and forgets what the other stored, in both revisions of the protocol."""
    tenant = f"turns-{revision}"
    async with connect(tenant) as memory:
        await memory.create_namespace("agent")
    async with round_robin(replicas, idp.token(tenant), revision) as (client, transport):
        stored = await call(
            client,
            "remember",
            text="Alice prefers green tea.",
            session="monday",
            subject="alice",
            labels={"topic": "tea"},
            key="people/alice",
            event_time="2026-01-02T03:04:05Z",
            salience=0.8,
        )
        await call(client, "remember", text="The meeting is on Friday.", session="tuesday")
        found = await call(client, "recall", query="What does Alice drink?")
        assert found["hits"][0]["memory"] == stored
        assert found["hits"][0]["breakdown"]["lexical_relative"] == 1
        assert (await call(client, "recall", query="tea", sessions=["tuesday"]))["hits"] == []
        listed = await call(client, "list", limit=1)
        assert listed["memories"] == [stored]
        rest = await call(client, "list", limit=1, page_token=listed["next_page_token"])
        assert [each["session"] for each in rest["memories"]] == ["tuesday"]
        assert "next_page_token" not in rest
        assert await call(client, "get", key="people/alice") == stored == await call(client, "get", name=stored["name"])
        changed = await call(client, "update", key="people/alice", text="Alice prefers coffee.", etag=stored["etag"])
        assert {**changed, "etag": "", "update_time": ""} == {
            **stored,
            "text": "Alice prefers coffee.",
            "revision": 2,
            "etag": "",
            "update_time": "",
        }
        sessions = (await call(client, "sessions"))["sessions"]
        assert [(each["session"], each["memory_count"]) for each in sessions] == [("monday", 1), ("tuesday", 1)]
        assert await call(client, "forget", name=stored["name"]) == {"forgotten": stored["name"]}
        assert "NOT_FOUND" in await refused(client, "get", name=stored["name"])
    assert set(transport.sent) == {each.address for each in replicas}


async def test_tool_errors_name_field_and_remedy(server: McpProcess, connect: Connect, idp: Issuer) -> None:
    """A model reads which argument was wrong, its bound and what to do; an unknown argument is refused."""
    async with connect("errors") as memory:
        await memory.create_namespace("agent")
        await memory.remember("agent", "taken", key="a")
    async with server.client(idp.token("errors")) as client:
        assert "bogus: is no argument of recall; it takes" in await refused(client, "recall", query="x", bogus=1)
        assert "query: is required" in await refused(client, "recall")
        assert "limit: must be less than or equal to 100" in await refused(client, "recall", query="x", limit=1000)
        assert "text: is required: 1 to 102400 bytes" in await refused(client, "remember", text="")
        assert "salience" in await refused(client, "remember", text="x", salience=7)
        assert "give either `name` or `key`" in await refused(client, "get")
        assert "ALREADY_EXISTS" in await refused(client, "remember", text="x", key="a")
        assert "ABORTED" in await refused(client, "update", key="a", text="x", etag="0")
        assert "namespaces/other does not exist" in await refused(client, "recall", query="x", namespace="other")
        created = await call(client, "update", key="b", text="created by an upsert", allow_missing=True)
        assert (created["text"], "revision" in created) == ("created by an upsert", False)
        with pytest.raises(MCPError, match="There is no tool 'remove'; there are remember, recall"):
            await client.call_tool("remove", {})


@pytest.mark.parametrize("revision", REVISIONS)
async def test_fast_path_matches_sdk_responses(
    server: McpProcess, connect: Connect, idp: Issuer, revision: str
) -> None:
    """A call that is handled without the SDK gets the response of the SDK, which an unusual member brings about."""
    tenant = f"usual-{revision}"
    async with connect(tenant) as memory:
        await memory.create_namespace("agent")
        await memory.remember(
            "agent", 'Quotes ", \\ and \u2028, é and \U0001f375', key="a", labels={"x": "y"}, session="s"
        )
    meta = {
        "io.modelcontextprotocol/protocolVersion": revision,
        "io.modelcontextprotocol/clientCapabilities": {"sampling": {}},
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "0"},
    }
    calls: list[tuple[str, dict[str, object]]] = [
        ("get", {"key": "a"}),
        ("recall", {"query": "quotes"}),
        ("list", {}),
        ("sessions", {}),
        ("get", {"key": "no"}),
        ("recall", {"query": "quotes", "bogus": 1}),
        ("no-such-tool", {}),
    ]
    for number, (tool, arguments) in enumerate(calls):
        headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": revision,
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        }
        params: dict[str, object] = {"name": tool, "arguments": arguments}
        if revision == "2026-07-28":
            params["_meta"] = meta
        body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        async with server.authorized_client(idp.token(tenant), **headers) as http:
            usual = await http.post(server.url, json=body)
            by_sdk = await http.post(server.url, json={**body, "unusual": True})
        answers = [normal(answer.json()) for answer in (usual, by_sdk)]
        assert answers[0] == answers[1]
        assert usual.status_code == by_sdk.status_code
        assert usual.headers["Content-Type"].partition(";")[0] == by_sdk.headers["Content-Type"].partition(";")[0]


def normal(answer: dict[str, Any]) -> str:
    """An answer without the id of the service's call, which is new in each."""
    return re.sub(r"\(request [0-9a-f]+\)", "", json.dumps(answer, sort_keys=True))


async def test_calls_without_default_namespace_must_name_one(
    folder: Path, one_resource: dict[str, object], connect: Connect, idp: Issuer
) -> None:
    without = {name: value for name, value in one_resource.items() if name != "mcp__namespace"}
    async with connect("namespaces") as memory:
        await memory.create_namespace("given")
    with mcp_server(folder, without) as running:
        async with running.client(idp.token("namespaces")) as client:
            assert "namespace: is required" in await refused(client, "remember", text="x")
            stored = await call(client, "remember", text="x", namespace="given")
            assert stored["name"].startswith("namespaces/given/")
            assert await call(client, "get", name=stored["name"]) == stored


async def test_tools_have_schemas_and_hints(server: McpProcess, idp: Issuer) -> None:
    """Each tool has both schemas and its four hints; tools that read, add, change or delete are marked as such."""
    async with server.client(idp.token("hints")) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    hints = {
        name: (each.read_only_hint, each.destructive_hint, each.idempotent_hint)
        for name, tool in tools.items()
        if (each := tool.annotations)
    }
    assert hints == {
        "remember": (False, False, False),
        "recall": (True, False, True),
        "list": (True, False, True),
        "get": (True, False, True),
        "update": (False, True, False),
        "forget": (False, True, True),
        "sessions": (True, False, True),
    }
    for tool in tools.values():
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema is not None
        assert tool.output_schema["type"] == "object"


async def test_tenants_are_isolated_through_one_mcp_server(server: McpProcess, connect: Connect, idp: Issuer) -> None:
    """Through one MCP server two tenants with a namespace of one name have separate memories."""
    for tenant in ("mcp-a", "mcp-b"):
        async with connect(tenant) as memory:
            await memory.create_namespace("agent")
    async with server.client(idp.token("mcp-a")) as a, server.client(idp.token("mcp-b")) as b:
        stored = await call(a, "remember", text="The vault opens with a brass key.", key="vault")
        assert (await call(b, "recall", query="vault brass key"))["hits"] == []
        assert (await call(b, "list"))["memories"] == []
        assert "NOT_FOUND" in await refused(b, "get", name=stored["name"])
        assert "NOT_FOUND" in await refused(b, "forget", key="vault")
        assert await call(a, "get", key="vault") == stored


async def test_quotas_and_read_only_apply_to_mcp_calls(
    folder: Path, settings: dict[str, object], one_resource: dict[str, object], idp: Issuer, connect: Connect
) -> None:
    """A tenant's rate of writes is limited through MCP as over gRPC, and the refusal has the delay before a retry."""
    async with connect("limited") as memory:
        await memory.create_namespace("agent")
    with service(folder, {**settings, "quota__writes_per_second": 1}) as limited:
        limited.wait_until_ready()
        with mcp_server(folder, {**one_resource, "mcp__address": limited.address, "mcp__deadline_s": 1}) as running:
            async with running.client(idp.token("limited")) as client:
                answers = [await client.call_tool("remember", {"text": f"note {i}"}) for i in range(8)]
    failures = [text(answer) for answer in answers if answer.is_error]
    assert 0 < len(failures) < 8
    assert all("RESOURCE_EXHAUSTED" in each and "Try again in" in each for each in failures), failures


async def test_host_and_origin_headers_are_checked(server: McpProcess, idp: Issuer) -> None:
    """A name that is not listed, as a web page would send after DNS rebinding, reaches neither tools nor metadata."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    token = idp.token("rebinding")
    port = server.address.partition(":")[2]
    cases = {
        "memory.example.com": (None, 200),
        f"localhost:{port}": (None, 200),
        "evil.example": (None, 421),
        "memory.example.com.evil.example": (None, 421),
        f"127.0.0.1:{port}": ("https://memory.example.com", 200),
        "127.0.0.1": ("https://evil.example", 421),
        f"[::1]:{port}": ("https://evil.example", 403),
        "LOCALHOST:1": ("null", 403),
    }
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
    for host, (origin, status) in cases.items():
        sent = {**headers, "Host": host, **({"Origin": origin} if origin else {})}
        async with server.authorized_client(token, **sent) as http:
            assert (await http.post(server.url, json=body)).status_code == status, (host, origin)
            metadata = await http.get(f"http://{server.address}/.well-known/oauth-protected-resource/mcp")
            assert metadata.status_code == status, (host, origin)


async def test_missing_or_invalid_token_is_challenged_with_metadata(server: McpProcess, idp: Issuer) -> None:
    """401 names the metadata, whose resource and issuer a client follows; a sent token is named invalid."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    address = "https://memory.example.com/.well-known/oauth-protected-resource/mcp"
    for token, error in (
        (None, ""),
        ("rubbish", 'error="invalid_token", '),
        (idp.token("a", aud="elsewhere"), 'error="invalid_token", '),
        (idp.token("a", life_s=-60), 'error="invalid_token", '),
        (idp.token(None), 'error="invalid_token", '),
    ):
        async with server.authorized_client(token) as http:
            for answer in (await http.post(server.url, json=body), await http.get(server.url)):
                assert answer.status_code == 401
                assert answer.headers["WWW-Authenticate"] == f'Bearer {error}resource_metadata="{address}"'
    async with server.authorized_client(None) as http:
        metadata = await http.get(f"http://{server.address}/.well-known/oauth-protected-resource/mcp")
        assert metadata.json() == {
            "resource": RESOURCE,
            "resource_name": "SomaBrain",
            "authorization_servers": [idp.url],
            "bearer_methods_supported": ["header"],
        }
    async with server.authorized_client(idp.token("a")) as http:
        for answer in (await http.get(server.url), await http.delete(server.url)):
            assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        assert (await http.post(server.url, content=b"x" * 2_000_000)).status_code == 413


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mcp__same_resource": False}, "mcp.exchange.url: is required unless auth.mode=none"),
        ({"mcp__resource_url": ""}, "SOMABRAIN_MCP__RESOURCE_URL: String should match"),
        ({"mcp__exchange__url": "http://e/token"}, "url requires client_id and client_secret"),
        ({"auth__mode": "none", "mcp__host": "0.0.0.0"}, "requires a loopback host, but mcp.host is 0.0.0.0"),
    ],
)
def test_incomplete_identity_settings_fail_startup(
    one_resource: dict[str, object], changes: dict[str, object], expected: str
) -> None:
    """The process exits with 2 and names the setting, instead of serving without identity."""
    done = subprocess.run(
        [SCRIPT, "mcp", "--http"],
        env=environment({**one_resource, **changes}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert expected in done.stderr


async def test_sigterm_drains_the_mcp_server(folder: Path, one_resource: dict[str, object], idp: Issuer) -> None:
    """At SIGTERM it is not ready but still answers, ends connections, and exits with 0."""
    with mcp_server(folder, {**one_resource, "mcp__shutdown_delay_s": 2}) as running:
        running.wait_until_ready()
        async with running.authorized_client(idp.token("drained")) as http:
            headers = {"Accept": "application/json", "MCP-Protocol-Version": "2025-11-25"}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            running.process.send_signal(signal.SIGTERM)
            running.wait_until_ready(False, containing="draining")
            answer = await http.post(running.url, json=body, headers=headers)
            assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        assert running.process.wait(30) == 0


async def test_probes_and_metrics(server: McpProcess, connect: Connect, idp: Issuer) -> None:
    """Health names the memory service and the issuer; calls are counted by tool and status, refusals by cause."""
    async with server.client(idp.token("counted")) as client:
        await refused(client, "get", key="none", namespace="missing")
    async with server.authorized_client("rubbish") as http:
        await http.post(server.url, json={})
    assert json.loads(server.get("/healthz")[1])["checks"].keys() == {"service", "issuer"}
    exposed = server.get("/metrics")[1]
    assert 'somabrain_mcp_calls_total{code="NOT_FOUND",tool="get"}' in exposed
    assert 'somabrain_auth_failures_total{cause="malformed"}' in exposed
    assert "somabrain_ready 1.0" in exposed


async def test_unavailable_service_is_a_tool_error(folder: Path, one_resource: dict[str, object], idp: Issuer) -> None:
    """The MCP server stays ready, its health names the service, and the model reads that it can retry."""
    with mcp_server(folder, {**one_resource, "mcp__address": "127.0.0.1:9", "mcp__deadline_s": 0.5}) as running:
        async with running.client(idp.token("a")) as client:
            assert (await refused(client, "recall", query="x")).startswith(("UNAVAILABLE", "DEADLINE_EXCEEDED"))
        assert running.get("/ready")[0] == 200
        assert "does not answer" in running.get("/healthz")[1]
