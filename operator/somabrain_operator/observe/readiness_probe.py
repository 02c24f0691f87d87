"""Readiness reports of pods, read directly because the kubelet does not publish the body of a failed probe."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import aiohttp

from somabrain_operator.kube.names import HTTP_PORT
from somabrain_operator.kube.objects import Json, text

TIMEOUT_S: Final = 2.0
MAX_BODY_BYTES: Final = 8192


class ReadinessProbe:
    """HTTP client of the pods' /ready."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Use an open session; its owner closes it."""
        self._session = session

    async def fetch_reason(self, address: str) -> str:
        """Return the pod's reason for not being ready, or an empty string if it gives none or does not respond."""
        host = f"[{address}]" if ":" in address else address
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._session.get(f"http://{host}:{HTTP_PORT}/ready", allow_redirects=False) as response,
            ):
                if response.status != 503:
                    return ""
                body = await response.content.read(MAX_BODY_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ""
        return parse_reason(body.decode(errors="replace"))


def parse_reason(body: str) -> str:
    """Return the reason in a response of /ready: the `reason` of its JSON, or plain text unchanged."""
    try:
        tree: Json = json.loads(body)
    except ValueError:
        return body.strip()
    return text(tree, "reason")
