"""HTTP server of probes and metrics, the same in both images."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from common.config.settings import HttpSettings
from common.errors import ConfigurationError


@asynccontextmanager
async def http_server(http: HttpSettings, app: web.Application) -> AsyncIterator[int]:
    """Serve `app` and yield the port it listens on.

    Raises:
        ConfigurationError: the port cannot be bound.
    """
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, http.host, http.port).start()
        except OSError as exc:
            raise ConfigurationError(
                f"http.port: {http.host}:{http.port} cannot be bound ({exc.strerror}); free it or choose another."
            ) from exc
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
