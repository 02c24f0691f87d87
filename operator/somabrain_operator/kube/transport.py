"""HTTP transport to the API server: address and credentials from kopf, requests by aiohttp.

A client library costs four times the CPU time of this module per request, and there are thousands.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast

import aiohttp
import kopf

from common.errors import ConfigurationError, Unavailable
from somabrain_operator.kube.errors import from_code
from somabrain_operator.kube.objects import Json, Manifest, text

TIMEOUT_S: Final = 15.0
"""Timeout of one request in seconds."""
MAX_CONNECTIONS: Final = 64
UNAUTHORIZED: Final = 401
APPLY: Final = "application/apply-patch+yaml"
JSON_PATCH: Final = "application/json-patch+json"
JSON: Final = "application/json"


class Transport:
    """Authenticated HTTP transport to the API server."""

    def __init__(self, session: aiohttp.ClientSession, log_in: Callable[[], kopf.ConnectionInfo]) -> None:
        """Use an open session; its owner closes it."""
        self._session = session
        self._log_in = log_in

    async def request(
        self,
        target: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
        content_type: str = JSON,
    ) -> Manifest:
        """Send a request and return the JSON object of the response.

        Args:
            target: object of the request for error messages, such as "Deployment demo/quickstart-server".
            method: HTTP method.
            path: URL path.
            query: URL query.
            body: request body; None sends none.
            content_type: media type of the body.

        Raises:
            Unavailable: the API server cannot be reached or did not respond in time.
            SomaBrainError: it rejected the request or failed, as in `from_code`.
        """
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"Content-Type": content_type} if data is not None else {}
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, content = await self._send(method, path, query, data, headers)
                if status == UNAUTHORIZED:  # the kubelet has rotated the token
                    self._session.headers.update(self._log_in().as_http_headers())
                    status, content = await self._send(method, path, query, data, headers)
        except TimeoutError as exc:
            raise Unavailable(
                f"The API server did not respond to the request on {target} within {TIMEOUT_S:.0f} s."
            ) from exc
        except aiohttp.ClientError as exc:
            raise Unavailable(f"The request on {target} did not reach the API server: {type(exc).__name__}.") from exc
        answer = _parsed(content)
        if status >= 400:
            raise from_code(target, status, text(answer, "message"))
        return answer

    async def _send(
        self, method: str, path: str, query: Mapping[str, str] | None, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        async with self._session.request(
            method, path, params=query, data=data, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, await answer.read()


def credentials(settings: kopf.OperatorSettings) -> kopf.ConnectionInfo | None:
    """Return the API server's address and the credentials from the pod's service account or from KUBECONFIG."""
    return kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)


@asynccontextmanager
async def open_transport(log_in: Callable[[], kopf.ConnectionInfo | None]) -> AsyncIterator[Transport]:
    """Connect to the API server for the length of the block.

    Args:
        log_in: returns its address and the credentials; called again when they are no longer accepted.

    Raises:
        ConfigurationError: there is neither a service account nor a kubeconfig.
    """

    def require_login() -> kopf.ConnectionInfo:
        info = log_in()
        if info is None:
            raise ConfigurationError("There is neither a service account nor a kubeconfig; set KUBECONFIG.")
        return info

    info = require_login()
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=info.as_ssl_context())
    async with aiohttp.ClientSession(
        info.server, connector=connector, headers=info.as_http_headers(), proxy=info.proxy_url
    ) as session:
        yield Transport(session, require_login)


def _parsed(content: bytes) -> Manifest:
    """Return the JSON object of a response, or an empty one if it is not a JSON object."""
    try:
        tree = json.loads(content)
    except ValueError:
        return {}
    return cast("Manifest", tree) if isinstance(tree, dict) else {}
