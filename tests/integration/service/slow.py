"""A way to a server on loopback that may be made slow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class Way:
    """What is sent either way arrives `delay_s` later."""

    port: int = 0
    delay_s: float = 0.0


@asynccontextmanager
async def way_to(port: int) -> AsyncIterator[Way]:
    """Pass connections on to a port of loopback, for as long as the block lasts."""
    way = Way()
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            while chunk := await reader.read(65_536):
                await asyncio.sleep(way.delay_s)
                writer.write(chunk)
                await writer.drain()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        for task in (asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))):
            pumps.add(task)
            task.add_done_callback(pumps.discard)

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    async with server:
        yield way
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
