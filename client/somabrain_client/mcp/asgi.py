"""A call of an ASGI application from aiohttp's server, for requests and responses without streams.

The SDK speaks ASGI; aiohttp is the one HTTP library of the images, and its parser is in C.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from aiohttp import web

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


async def respond(
    application: Application, request: web.Request, body: bytes, extra: dict[str, object]
) -> web.Response:
    """Return the application's response to a request with this body; `extra` is added to its scope."""
    status, headers, chunks = 500, list[tuple[bytes, bytes]](), list[bytes]()
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            # The connection's end: aiohttp cancels this task when the client disconnects.
            await asyncio.get_running_loop().create_future()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        elif chunk := message.get("body"):
            chunks.append(chunk)

    await application(_scope(request, extra), receive, send)
    response = web.Response(status=status, body=b"".join(chunks))
    for name, value in headers:
        if name.lower() not in {b"content-length", b"connection"}:
            response.headers[name.decode("latin-1")] = value.decode("latin-1")
    return response


def _scope(request: web.Request, extra: dict[str, object]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.raw_path.encode("latin-1", "replace"),
        "query_string": request.query_string.encode("latin-1", "replace"),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
        "client": None,
        "server": None,
        **extra,
    }
