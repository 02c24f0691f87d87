"""HTTP client of both images' calls to other services."""

from __future__ import annotations

from typing import Any

import aiohttp

from common.json_document import InvalidJson, parse_json

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Maximum size of a JSON document from another server; real ones have a few kilobytes."""


def describe_failure(exc: BaseException | None) -> str:
    """Return the text of a failed request's error, for use in a sentence; it contains no header and no body."""
    return str(exc or "").rstrip(".") or ("no answer in time" if isinstance(exc, TimeoutError) else type(exc).__name__)


def http_client(**options: Any) -> aiohttp.ClientSession:
    """Return an aiohttp session whose requests are spans and propagate the trace; `options` are the session's own."""
    from opentelemetry.instrumentation.aiohttp_client import create_trace_config

    return aiohttp.ClientSession(trace_configs=[create_trace_config()], **options)


async def read_json(response: aiohttp.ClientResponse) -> object:
    """Return the body of a response, parsed regardless of its content type.

    Raises:
        InvalidJson: it is not JSON, nested too deeply, or larger than `MAX_JSON_BYTES`.
        aiohttp.ClientError: the connection broke.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise InvalidJson(f"it is longer than {MAX_JSON_BYTES} bytes")
    document: object = parse_json(bytes(body))
    return document
