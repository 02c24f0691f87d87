"""The MCP server over the SDK: lists the tools, checks the arguments of a call, and makes it.

The SDK's low-level server is used, not its `MCPServer`: that one ignores unknown arguments and hides errors.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, Protocol

from mcp.server import Server
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)
from pydantic import ValidationError

from common.errors import SomaBrainError, Unauthenticated
from somabrain_client.credentials import TokenError
from somabrain_client.errors import CallError, UnauthenticatedError
from somabrain_client.mcp import results
from somabrain_client.mcp.calls import SCOPE_KEY, McpCall, current_call
from somabrain_client.mcp.tool_errors import arguments_message, call_message
from somabrain_client.mcp.tools import TOOLS, MemoryTool
from somabrain_client.memory_client import MemoryClient

INSTRUCTIONS: Final = (
    "A memory that outlives this conversation. Recall before you answer from memory; remember what will matter later, "
    "one fact or event at a time, with the session and subject that it belongs to. A recall returns stored texts "
    "exactly as they were, each with a score that is explained."
)
LIST_TTL_MS: Final = 3_600_000
"""Milliseconds for which clients may cache the list of tools, which changes only with the version."""


class CallRecorder(Protocol):
    """Counts calls of tools."""

    def record(self, tool: str, code: str, seconds: float) -> None:
        """Count a call that ended with `code`, a gRPC status or INVALID_ARGUMENT, after `seconds`."""
        ...


@dataclass(frozen=True, slots=True)
class ToolResult:
    """Result of a call: as text, and as a JSON object; None: the text is that of an error."""

    text: str
    structured: results.JsonObject | None = None


class ToolServer:
    """The tools of one memory service, for any number of concurrent calls."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[MemoryClient]],
        namespace: str | None,
        recorder: CallRecorder | None = None,
    ) -> None:
        """Prepare the tools.

        Args:
            connect: returns the client of the service; its token source reads `current_call`.
            namespace: namespace of calls that name no other; None: every call must name one.
            recorder: counts the calls; None: they are not counted.
        """
        self._connect = connect
        self._namespace = namespace
        self._recorder = recorder
        self._tools: Mapping[str, MemoryTool[Any]] = {tool.name: tool for tool in TOOLS}
        self._list = ListToolsResult(tools=[tool.definition() for tool in TOOLS])
        self.sdk: Server[Any] = Server(
            "somabrain",
            title="SomaBrain",
            version=version("somabrain"),
            instructions=INSTRUCTIONS,
            cache_hints={"tools/list": CacheHint(LIST_TTL_MS, "public")},
            # No argument of a tool is copied to a header, so there is nothing to compare.
            get_tool_input_schema=lambda _: None,
            on_list_tools=self._on_list,
            on_call_tool=self._on_call,
        )
        # Spans are ours (`server_span`): those of the SDK would repeat them, and record messages of errors.
        self.sdk.middleware.clear()

    async def _on_list(self, _: ServerRequestContext[Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        return self._list

    async def _on_call(self, context: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        if not self.has_tool(params.name):
            raise MCPError(
                INVALID_PARAMS, f"There is no tool {params.name[:64]!r}; there are {', '.join(self._tools)}."
            )
        result = await self.call_tool(params.name, params.arguments or {}, _call_of(context))
        # The text is the result once more, for clients of revisions that know no structured results.
        return CallToolResult(
            content=[TextContent(type="text", text=result.text)],
            structured_content=result.structured,
            is_error=result.structured is None,
        )

    def has_tool(self, name: str) -> bool:
        """Return whether there is a tool of this name."""
        return name in self._tools

    async def call_tool(self, name: str, arguments: Mapping[str, Any], call: McpCall) -> ToolResult:
        """Call a tool that exists. An error that the model can correct is a result that explains it."""
        reset = current_call.set(call)
        started = time.perf_counter()
        try:
            code, result = await self._call(self._tools[name], arguments, call)
        finally:
            current_call.reset(reset)
        if self._recorder is not None:
            self._recorder.record(name, code, time.perf_counter() - started)
        return result

    async def _call(self, tool: MemoryTool[Any], arguments: Mapping[str, Any], call: McpCall) -> tuple[str, ToolResult]:
        """Return the code by which the call is counted, and its result."""
        try:
            options = tool.arguments.model_validate(arguments)
        except ValidationError as exc:
            return "INVALID_ARGUMENT", ToolResult(arguments_message(tool.name, exc, tool.arguments.model_fields))
        namespace = options.namespace or self._namespace or ""
        if not namespace and options.needs_namespace:
            message = "INVALID_ARGUMENT: namespace: is required; this server has no default namespace."
            return "INVALID_ARGUMENT", ToolResult(message)
        try:
            result = await tool.call(await self._connect(), namespace, options)
        except CallError as exc:
            call.rejected = isinstance(exc, UnauthenticatedError)
            return exc.code.name, ToolResult(call_message(exc))
        except Unauthenticated:
            call.rejected = True
            return "UNAUTHENTICATED", ToolResult("UNAUTHENTICATED: a valid bearer token is required.")
        except SomaBrainError as exc:
            return exc.reason, ToolResult(f"{exc.reason}: {exc.message}")
        except (TokenError, OSError) as exc:
            # The token source of stdio: a file that is missing or has no token.
            return "UNAUTHENTICATED", ToolResult(f"UNAUTHENTICATED: {exc}")
        return "OK", ToolResult(json.dumps(result, ensure_ascii=False, separators=(",", ":")), result)


def _call_of(context: ServerRequestContext[Any]) -> McpCall:
    """Return the call of an HTTP request; over stdio, a new one."""
    request = context.request
    return McpCall() if request is None else request.scope[SCOPE_KEY]
