"""The subcommand `somabrain mcp`: over stdio by default, over HTTP with `--http`.

Over stdio, an option of the command comes before its setting (`SOMABRAIN_MCP__...`). Over HTTP there are settings only.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from common.config.settings import Settings, former_names_in_use, load
from common.errors import ConfigurationError, SomaBrainError
from common.log import configure_logging, warn_of_former_names
from somabrain_client.credentials import TokenSource
from somabrain_client.tls import Tls

EXIT_FAILURE, EXIT_INVALID = 1, 2


def run(options: argparse.Namespace, address: str | None, token: TokenSource | None, tls: Tls | None) -> int:
    """Serve, and return the exit code: 0 success; 1 failure; 2 invalid options or settings.

    Args:
        options: those of the command.
        address: the service's, if it was given as an option.
        token: the token source that was given as options, if any.
        tls: TLS as it was given as options, if any.
    """
    try:
        settings = load()
        log = settings.log
        if not options.http and "format" not in log.model_fields_set:
            log = log.model_copy(update={"format": "console"})
        configure_logging(log)
        warn_of_former_names(former_names_in_use())
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve(options, settings, address, token, tls))
    except ImportError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in {"mcp", "mcp_types"}:
            raise
        return _report(
            "the MCP SDK is not installed; install the extra mcp: pip install 'somabrain[mcp]'", EXIT_INVALID
        )
    except ConfigurationError as exc:
        return _report(exc.message, EXIT_INVALID)
    except SomaBrainError as exc:
        return _report(exc.message, EXIT_FAILURE)
    return 0


async def _serve(
    options: argparse.Namespace, settings: Settings, address: str | None, token: TokenSource | None, tls: Tls | None
) -> None:
    mcp = settings.mcp
    if options.http:
        if address or token or tls:
            raise ConfigurationError("--http takes no other options: set SOMABRAIN_MCP__ADDRESS and its neighbours.")
        from somabrain_client.mcp import http_process

        if options.embedded:
            await http_process.serve_embedded(settings, options.data_dir)
        else:
            await http_process.serve(settings)
        return
    from somabrain_client.mcp import stdio_process
    from somabrain_client.mcp.service_tls import service_tls

    namespace = options.namespace or mcp.namespace
    if options.embedded:
        if address or token or tls:
            raise ConfigurationError("--embedded starts a service of its own; leave out address, token and TLS.")
        await stdio_process.serve_embedded(options.data_dir, namespace, mcp.deadline_s)
        return
    connection = stdio_process.Connection(
        address=address or mcp.address,
        token=token or _token(settings),
        tls=tls or service_tls(mcp),
        deadline_s=mcp.deadline_s,
        use_http_proxy=options.use_http_proxy,
    )
    await stdio_process.serve(connection, namespace)


def _token(settings: Settings) -> TokenSource | None:
    """Return the token source of the settings: a token, or a file, which is read again at each call."""
    token: Path | None = settings.mcp.token_file
    return settings.mcp.token.get_secret_value() if settings.mcp.token is not None else token


def _report(message: str, code: int) -> int:
    print(f"somabrain: {message}", file=sys.stderr)  # noqa: T201 - a command's error
    return code
