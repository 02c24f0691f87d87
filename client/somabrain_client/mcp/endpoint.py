"""The MCP endpoint over HTTP: Host and Origin, the caller's identity, and then the SDK's transport.

Every request carries its bearer token and is complete in itself, in both revisions: no session is kept, so that any
replica answers. A response is one JSON document, and never a stream: no tool reports progress.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import hdrs, web

from common.auth.bearer import bearer_token
from common.auth.identity import Identity
from common.errors import Unauthenticated, Unavailable
from common.utils.auth_client import Authenticator
from common.utils.trace import server_span
from somabrain_client.mcp.asgi import Application, respond
from somabrain_client.mcp.calls import SCOPE_KEY, McpCall
from somabrain_client.mcp.metrics import Metrics
from somabrain_client.mcp.protected_resource import ProtectedResource
from somabrain_client.mcp.request_origin import RequestOrigin
from somabrain_client.mcp.server import ToolServer
from somabrain_client.mcp.tool_request import parse_tool_request, tool_response

MAX_BODY_BYTES: Final = 1024 * 1024
"""Maximum size of a request: a text of 100 KiB, escaped as JSON, is at most six times as long."""
RETRY_AFTER_S: Final = 1

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Endpoint:
    """Handlers of the endpoint's requests."""

    def __init__(
        self,
        tools: ToolServer,
        application: Application,
        origin: RequestOrigin,
        authenticator: Authenticator,
        resource: ProtectedResource | None,
        metrics: Metrics,
        reject: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare the handlers.

        Args:
            tools: the tools.
            application: the SDK's transport, for all requests that are not calls of tools as usual.
            origin: accepted values of Host and Origin.
            authenticator: verifies tokens for this resource.
            resource: what is published of it; None: callers are not authenticated.
            metrics: counts the responses.
            reject: called with a token that the memory service refused.
        """
        self._tools = tools
        self._server_info = json.dumps(tools.sdk.server_info_stamp)
        self._application = application
        self._origin = origin
        self._authenticator = authenticator
        self._resource = resource
        self._metrics = metrics
        self._reject = reject
        self.draining = False
        """While True, responses end their connection, so that clients reconnect elsewhere."""

    def web_application(self, path: str) -> web.Application:
        """Return the application, with the endpoint at `path`."""
        application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._observe])
        application.router.add_route("*", path, self._serve)
        if self._resource is not None:
            application.router.add_get(self._resource.metadata_path, self._publish)
        return application

    @web.middleware
    async def _observe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        with self._metrics.requests_in_flight.track_inprogress():
            if not self._origin.accepts_host(_only(request, hdrs.HOST)):
                response: web.StreamResponse = _error(421, "Host: is not accepted; see SOMABRAIN_MCP__ALLOWED_HOSTS.")
            elif not self._origin.accepts_origin(_only(request, hdrs.ORIGIN, missing=None)):
                response = _error(403, "Origin: is not accepted; see SOMABRAIN_MCP__ALLOWED_ORIGINS.")
            else:
                try:
                    response = await handler(request)
                except web.HTTPException as exc:
                    response = _error(exc.status, f"{exc.reason}.", exc.headers)
        self._metrics.responses.labels(str(response.status)).inc()
        if self.draining:
            response.force_close()
        return response

    async def _publish(self, _: web.Request) -> web.Response:
        return web.json_response(
            self._resource.metadata() if self._resource else {}, headers={"Cache-Control": "max-age=3600"}
        )

    async def _serve(self, request: web.Request) -> web.Response:
        token = bearer_token(_only(request, hdrs.AUTHORIZATION, missing=None))
        try:
            identity = await self._authenticator.identify(token)
        except Unauthenticated as exc:
            self._metrics.auth_failures.labels(exc.cause).inc()
            return self._challenge(token)
        except Unavailable as exc:
            self._metrics.auth_failures.labels("unreachable").inc()
            return _error(503, exc.message, {"Retry-After": str(RETRY_AFTER_S)})
        if request.method != hdrs.METH_POST:
            # There is no stream of the server's own messages, and no session to end.
            return _error(405, "The endpoint takes POST only.", {"Allow": "POST"})
        return await self._answer(request, token, identity)

    async def _answer(self, request: web.Request, token: str | None, identity: Identity) -> web.Response:
        carrier = {name: value for name in ("traceparent", "tracestate") if (value := request.headers.get(name))}
        call = McpCall(token=token, identity=identity, traceparent=carrier.get("traceparent", ""))
        with server_span("mcp.request", carrier, {"http.request.method": "POST"}):
            response = await self._call_tool(request, call)
        if call.rejected and self._resource is not None:
            # The service refused the token, which was valid when it was verified: it was revoked, or has expired.
            if self._reject is not None and token is not None:
                self._reject(token)
            self._metrics.auth_failures.labels("refused_by_service").inc()
            return self._challenge(token)
        return response

    async def _call_tool(self, request: web.Request, call: McpCall) -> web.Response:
        body = await request.read()
        parsed = parse_tool_request(body, request.headers)
        if parsed is None or not self._tools.has_tool(parsed.name):
            return await respond(self._application, request, body, {SCOPE_KEY: call})
        result = await self._tools.call_tool(parsed.name, parsed.arguments, call)
        structured = None if result.structured is None else result.text
        response = tool_response(parsed, result.text, structured, self._server_info)
        return web.Response(body=response, content_type="application/json")

    def _challenge(self, token: str | None) -> web.Response:
        """Return 401, with the address of the metadata that names the issuer."""
        error = "" if token is None else "invalid_token"
        challenge = self._resource.challenge(error) if self._resource else "Bearer"
        return _error(401, "A valid bearer token for this resource is required.", {"WWW-Authenticate": challenge})


def _only(request: web.Request, name: str, *, missing: str | None = None) -> str | None:
    """Return the header's only value; `missing` if it is missing; one that no check accepts if it was sent twice."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else ",".join(values) if values else missing


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an error in the shape of JSON-RPC, which clients of MCP parse."""
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": message}}
    passed = {k: v for k, v in (headers or {}).items() if k.lower() in {"allow", "retry-after", "www-authenticate"}}
    return web.Response(status=status, text=json.dumps(body), content_type="application/json", headers=passed)
