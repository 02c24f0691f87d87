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

    def __init__(
        self,
        session: aiohttp.ClientSession,
        log_in: Callable[[], kopf.ConnectionInfo],
        watch_session: aiohttp.ClientSession | None = None,
    ) -> None:
        """Use open sessions; their owner closes them.

        Args:
            session: session for requests.
            log_in: returns the current credentials.
            watch_session: session for watches, each of which occupies a connection; None: `session`.
        """
        self._session = session
        self._watch_session = watch_session or session
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
        accept: str = JSON,
    ) -> Manifest:
        """Send a request and return the JSON object of the response.

        Args:
            target: object of the request for error messages, such as "Deployment demo/quickstart-server".
            method: HTTP method.
            path: URL path.
            query: URL query.
            body: request body; None sends none.
            content_type: media type of the body.
            accept: media type of the response.

        Raises:
            Unavailable: the API server cannot be reached or did not respond in time.
            SomaBrainError: it rejected the request or failed, as in `from_code`.
        """
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"Accept": accept} | ({"Content-Type": content_type} if data is not None else {})
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, content = await self._send(method, path, query, data, headers)
                if status == UNAUTHORIZED:  # the kubelet has rotated the token
                    self._renew_credentials()
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

    @asynccontextmanager
    async def stream(
        self, target: str, path: str, *, query: Mapping[str, str], accept: str, silence_s: float
    ) -> AsyncIterator[AsyncIterator[Manifest]]:
        """Open a watch, and yield an iterator over its events, which ends when the API server ends the watch.

        Args:
            target: what is watched, for error messages.
            path: URL path of the collection.
            query: URL query.
            accept: media type of the response.
            silence_s: seconds without any data after which the connection counts as lost.

        Raises:
            Unavailable: the API server cannot be reached, or sent nothing for `silence_s`.
            SomaBrainError: it rejected the request, as in `from_code`.
        """
        timeout = aiohttp.ClientTimeout(sock_connect=TIMEOUT_S, sock_read=silence_s)
        try:
            async with self._watch_session.get(
                path, params=query, headers={"Accept": accept}, timeout=timeout, allow_redirects=False
            ) as answer:
                if answer.status == UNAUTHORIZED:
                    self._renew_credentials()
                    raise Unavailable(f"The watch of {target} is opened again with new credentials.")
                if answer.status >= 400:
                    raise from_code(target, answer.status, text(_parsed(await answer.read()), "message"))
                yield _lines(answer.content)
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise Unavailable(f"The watch of {target} was interrupted: {type(exc).__name__}.") from exc

    def _renew_credentials(self) -> None:
        headers = self._log_in().as_http_headers()
        for session in (self._session, self._watch_session):
            session.headers.update(headers)

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
    watch_connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context())
    server, headers, proxy = info.server, info.as_http_headers(), info.proxy_url
    async with (
        aiohttp.ClientSession(server, connector=connector, headers=headers, proxy=proxy) as session,
        aiohttp.ClientSession(server, connector=watch_connector, headers=headers, proxy=proxy) as watch_session,
    ):
        yield Transport(session, require_login, watch_session)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[Manifest]:
    """Yield the JSON objects of a stream, one a line, of any length."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield _parsed(line)


def _parsed(content: bytes) -> Manifest:
    """Return the JSON object of a response, or an empty one if it is not a JSON object."""
    try:
        tree = json.loads(content)
    except ValueError:
        return {}
    return cast("Manifest", tree) if isinstance(tree, dict) else {}
