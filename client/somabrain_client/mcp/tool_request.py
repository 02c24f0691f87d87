"""The request that an agent sends most, a call of a tool, read and answered without the SDK's models. Pure.

The SDK validates and copies every request and every result several times over, which costs as much as the Recall. A
request that is in every respect as usual is therefore answered directly, byte by byte as the SDK would; any other one
is left to the SDK (`parse_tool_request` returns None), which knows all cases and all errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from mcp.shared.inbound import (
    MCP_PARAM_HEADER_PREFIX,
    InboundModernRoute,
    classify_inbound_request,
    find_duplicated_routing_header,
)
from mcp_types import methods
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from multidict import CIMultiDictProxy

METHOD: Final = "tools/call"
VERSION_HEADER: Final = "MCP-Protocol-Version"
HANDSHAKE_VERSIONS: Final = frozenset({"2025-06-18", "2025-11-25"})
"""Revisions with a handshake whose results can be structured."""
ENVELOPE: Final = {"jsonrpc", "id", "method", "params"}
PARAMS: Final = {"name", "arguments", "_meta"}
JSON: Final = "application/json"
PARAM_PREFIX: Final = MCP_PARAM_HEADER_PREFIX.lower()


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A call of a tool. `stateless`: of a revision without handshake."""

    id: str | int
    name: str
    arguments: dict[str, Any]
    stateless: bool


def parse_tool_request(body: bytes, headers: CIMultiDictProxy[str]) -> ToolRequest | None:
    """Return the call of a tool; None: it is another request, or unusual in any respect."""
    if not headers.get("Content-Type", "").lower().startswith(JSON) or JSON not in headers.get("Accept", ""):
        return None
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.keys() != ENVELOPE:
        return None
    params, number = document["params"], document["id"]
    if (
        document["jsonrpc"] != "2.0"
        or document["method"] != METHOD
        or type(number) not in (str, int)
        or not isinstance(params, dict)
        or not params.keys() <= PARAMS
        or not isinstance(params.get("arguments"), dict)
        or not isinstance(params.get("name"), str)
    ):
        return None
    version = headers.get(VERSION_HEADER, "")
    stateless = version in MODERN_PROTOCOL_VERSIONS
    if not (_is_routed(document, headers) if stateless else version in HANDSHAKE_VERSIONS):
        return None
    meta = params.get("_meta")
    if (stateless or meta is not None) and not _is_valid_meta(version, json.dumps(meta, sort_keys=True)):
        return None
    return ToolRequest(number, params["name"], params["arguments"], stateless)


def tool_response(request: ToolRequest, text: str, structured: str | None, server_info: str) -> bytes:
    """Return the body of the response.

    Args:
        request: the request.
        text: the result as text; its error, if `structured` is None.
        structured: the result as a JSON object; None: it is an error.
        server_info: JSON of the server's identity, which stateless revisions have in each result.
    """
    content = f'[{{"text":{json.dumps(text)},"type":"text"}}]'
    parts = [f'"content":{content},"isError":{"true" if structured is None else "false"}']
    if structured is not None:
        parts.append(f'"structuredContent":{structured}')
    if request.stateless:
        parts.append(f'"resultType":"complete","_meta":{{"io.modelcontextprotocol/serverInfo":{server_info}}}')
    return f'{{"jsonrpc":"2.0","id":{json.dumps(request.id)},"result":{{{",".join(parts)}}}}}'.encode()


def _is_routed(document: Mapping[str, Any], headers: CIMultiDictProxy[str]) -> bool:
    """Return whether the headers of a stateless request are those of its body."""
    if find_duplicated_routing_header(headers.items()) is not None:
        return False
    lower = {name.lower(): value for name, value in headers.items()}
    if any(name.startswith(PARAM_PREFIX) for name in lower):
        return False
    return isinstance(classify_inbound_request(document, headers=lower), InboundModernRoute)


@lru_cache(maxsize=1024)
def _is_valid_meta(version: str, meta: str) -> bool:
    """Return whether the SDK accepts this `_meta`, which is the same in all requests of a client."""
    try:
        methods.validate_client_request(METHOD, version, {"name": "x", "_meta": json.loads(meta)})
    except ValueError:
        return False
    return True
