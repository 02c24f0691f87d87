"""A server with `/v1/embeddings` on loopback, whose vectors are those of the real sentence encoder.

Each of the next requests gets one of `faults`, as networks and providers cause them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from somabrain_service.encoders.protocols import Encoder

MODEL = "all-minilm"
KEY = "sk-sesame"

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Embeddings:
    """The server as a test sees it. `request_sizes`: how many texts each request held."""

    encoder: Encoder
    port: int = 0
    key: str = ""
    request_sizes: list[int] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    broken: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/embeddings"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.request_sizes.append(len(body["input"]))
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "Incorrect API key provided"}}, status=401)
        if self.faults:
            return await self.faults.popleft()(request)
        if self.broken:
            return await status(503)(request)
        if body["model"] != MODEL:
            return web.json_response({"error": {"message": "no such model"}}, status=404)
        vectors = await self.encoder.encode(body["input"])
        data = [{"object": "embedding", "index": i, "embedding": row.tolist()} for i, row in enumerate(vectors)]
        return web.json_response({"object": "list", "model": MODEL, "data": data[::-1]})  # the order is not promised


def status(code: int, **headers: str) -> Fault:
    """Answer with a status and an unhelpful body."""

    async def fault(request: web.Request) -> web.StreamResponse:
        return web.Response(status=code, headers=headers, text="try elsewhere")

    return fault


def respond_with(text: str) -> Fault:
    """Answer 200 with a given body."""

    async def fault(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type="application/json")

    return fault


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@asynccontextmanager
async def embeddings(encoder: Encoder, port: int = 0) -> AsyncIterator[Embeddings]:
    """Serve on a free port, or on `port`."""
    server = Embeddings(encoder)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/embeddings", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
