"""The bearer token that the memory service gets for a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from common.errors import Unauthenticated
from somabrain_client.mcp.calls import McpCall, current_call
from somabrain_client.mcp.token_exchange import TokenExchange


def passed_on() -> str:
    """Return the caller's own token: the MCP server and the service are one resource."""
    return _token(current_call.get())


def exchanged(exchange: TokenExchange) -> Callable[[], Awaitable[str]]:
    """Return a token source for the client that exchanges the caller's token."""

    async def source() -> str:
        call = current_call.get()
        if call.identity is None:
            raise Unauthenticated("missing")
        return await exchange.service_token(_token(call), call.identity)

    return source


def _token(call: McpCall) -> str:
    if call.token is None:
        raise Unauthenticated("missing")
    return call.token
