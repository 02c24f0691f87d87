"""Only a plain tool call is parsed without the SDK; any other request falls back to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from somabrain_client.mcp.tool_request import ToolRequest, parse_tool_request, tool_response

VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": VERSION,
    "Mcp-Method": "tools/call",
    "Mcp-Name": "recall",
}
PARAMS = {"name": "recall", "arguments": {"query": "tea"}, "_meta": META}
REQUEST = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": PARAMS}


def parse(request: object = REQUEST, *more: tuple[str, str], **headers: str | None) -> ToolRequest | None:
    """Parse a request with some headers replaced, removed (None), or repeated."""
    named = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    given = CIMultiDict({name: value for name, value in named.items() if value is not None})
    given.extend(more)
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return parse_tool_request(body, CIMultiDictProxy(given))


def test_tool_call_is_parsed_in_both_protocol_revisions() -> None:
    """The parsed call has its id, tool and arguments, with and without optional members."""
    assert parse() == ToolRequest(1, "recall", {"query": "tea"}, stateless=True)
    handshake = {"MCP_Protocol_Version": "2025-11-25", "Mcp_Method": None, "Mcp_Name": None}
    without_meta = {**REQUEST, "id": "x", "params": {"name": "recall", "arguments": {}}}
    assert parse(without_meta, **handshake) == ToolRequest("x", "recall", {}, stateless=False)
    progress = {**PARAMS, "_meta": {**META, "progressToken": 7}}
    assert parse({**REQUEST, "params": progress}) is not None


@pytest.mark.parametrize(
    "request_or_headers",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff",
        {**REQUEST, "jsonrpc": "1.0"},
        {**REQUEST, "method": "tools/list"},
        {**REQUEST, "unusual": 1},
        {**REQUEST, "id": None},
        {**REQUEST, "id": True},
        {**REQUEST, "id": 1.5},
        {**REQUEST, "params": []},
        {name: value for name, value in REQUEST.items() if name != "id"},
        [REQUEST],
        {**REQUEST, "params": {**PARAMS, "task": {}}},
        {**REQUEST, "params": {**PARAMS, "name": 1}},
        {**REQUEST, "params": {**PARAMS, "arguments": []}},
        {**REQUEST, "params": {"name": "recall", "_meta": META}},
        {**REQUEST, "params": {**PARAMS, "_meta": {}}},
        {**REQUEST, "params": {**PARAMS, "_meta": None}},
        {**REQUEST, "params": {**PARAMS, "_meta": {**META, "io.modelcontextprotocol/clientCapabilities": 1}}},
        {**REQUEST, "params": {**PARAMS, "_meta": {**META, "io.modelcontextprotocol/protocolVersion": "1999-01-01"}}},
    ],
)
def test_unsupported_body_falls_back_to_sdk(request_or_headers: object) -> None:
    assert parse(request_or_headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "text/plain"},
        {"Content_Type": None},
        {"Accept": "text/html"},
        {"Accept": None},
        {"MCP_Protocol_Version": None},
        {"MCP_Protocol_Version": "2024-11-05"},
        {"MCP_Protocol_Version": "1999-01-01"},
        {"Mcp_Method": "tools/list"},
        {"Mcp_Method": None},
        {"Mcp_Name": "forget"},
        {"Mcp_Name": None},
        {"Mcp_Param_Query": "tea"},
    ],
)
def test_unsupported_headers_fall_back_to_sdk(headers: dict[str, str | None]) -> None:
    assert parse(REQUEST, **headers) is None


@pytest.mark.parametrize("name", ["Mcp-Method", "Mcp-Name", "MCP-Protocol-Version"])
def test_repeated_header_falls_back_to_sdk(name: str) -> None:
    assert parse(REQUEST, (name, HEADERS[name])) is None


def test_tool_response_follows_protocol_revision() -> None:
    """Responses have structured results or errors; stateless ones also the result type and the server's identity."""
    text = '{"text":"a \\"quote\\" and é"}'
    stateless = ToolRequest("a", "get", {}, stateless=True)
    answer: dict[str, Any] = json.loads(tool_response(stateless, text, text, '{"name":"somabrain"}'))
    assert answer == {
        "jsonrpc": "2.0",
        "id": "a",
        "result": {
            "content": [{"type": "text", "text": text}],
            "structuredContent": {"text": 'a "quote" and é'},
            "isError": False,
            "resultType": "complete",
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "somabrain"}},
        },
    }
    handshake = ToolRequest(2, "get", {}, stateless=False)
    failed = json.loads(tool_response(handshake, "NOT_FOUND: it does not exist.", None, "{}"))
    assert failed["result"] == {
        "content": [{"type": "text", "text": "NOT_FOUND: it does not exist."}],
        "isError": True,
    }
