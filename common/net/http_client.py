"""HTTP client of both images' calls to other services."""

from __future__ import annotations

from typing import Any

import aiohttp
from opentelemetry.instrumentation.aiohttp_client import create_trace_config


def describe_failure(exc: BaseException | None) -> str:
    """Return the text of a failed request's error, for use in a sentence; it contains no header and no body."""
    return str(exc or "").rstrip(".") or ("no answer in time" if isinstance(exc, TimeoutError) else type(exc).__name__)


def http_client(**options: Any) -> aiohttp.ClientSession:
    """Return an aiohttp session whose requests are spans and propagate the trace; `options` are the session's own."""
    return aiohttp.ClientSession(trace_configs=[create_trace_config()], **options)
