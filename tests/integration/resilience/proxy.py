"""A TCP proxy on loopback that delays a dependency or drops its answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from devcluster.loopback.server_process import HOST, free_ports


@dataclass
class Proxy:
    """Passes bytes on to `target`, a port of loopback or a Unix socket, `delay_s` late; connections are not refused.

    In place of each of `drop_answers` answers the connection ends, after the first `pass_first` answers have passed.
    """

    port: int
    target: int | Path
    delay_s: float = 0.0
    drop_answers: int = 0
    pass_first: int = 0

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    async def accept(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        try:
            far, forward = await (
                asyncio.open_connection(HOST, self.target)
                if isinstance(self.target, int)
                else asyncio.open_unix_connection(self.target)
            )
        except OSError:
            answer.transport.abort()
            return
        with suppress(OSError):
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(near, forward))
                both.create_task(self._pass(far, answer, answers=True))

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool = False) -> None:
        """Pass bytes on in one direction, and close the sink when the source ends."""
        try:
            while data := await source.read(65_536):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if answers and self.drop_answers and self.pass_first:
                    self.pass_first -= 1
                elif answers and self.drop_answers:
                    self.drop_answers -= 1
                    sink.transport.abort()
                    return
                sink.write(data)
                await sink.drain()
        except OSError:
            sink.transport.abort()
        finally:
            sink.close()


@asynccontextmanager
async def proxy(target: int | Path, port: int | None = None) -> AsyncIterator[Proxy]:
    """Run a proxy until the end of the block, on `port` or a free one."""
    running = Proxy(port or free_ports(1)[0], target)
    connections: set[asyncio.Task[None]] = set()

    def connected(near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(running.accept(near, answer))
        connections.add(task)
        task.add_done_callback(connections.discard)
        # Also if it is cancelled before its first step.
        task.add_done_callback(lambda ended: answer.transport.abort() if ended.cancelled() else None)

    server = await asyncio.start_server(connected, HOST, running.port)
    try:
        yield running
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
