"""A proxy to a server on loopback that a test can slow down."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class DelayProxy:
    """A running proxy: what is sent in either direction arrives `delay_s` later."""

    port: int = 0
    delay_s: float = 0.0


@asynccontextmanager
async def delay_proxy(port: int) -> AsyncIterator[DelayProxy]:
    """Forward connections to a port on loopback until the block ends."""
    proxy = DelayProxy()
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            while chunk := await reader.read(65_536):
                await asyncio.sleep(proxy.delay_s)
                writer.write(chunk)
                await writer.drain()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        for task in (
            asyncio.create_task(pump(reader, upstream_writer)),
            asyncio.create_task(pump(upstream_reader, writer)),
        ):
            pumps.add(task)
            task.add_done_callback(pumps.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
