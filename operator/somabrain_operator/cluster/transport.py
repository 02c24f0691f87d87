"""Requests to the API server: kopf knows where it is and who we are, aiohttp carries them.

A client library costs four times the processor time of this file for each request, and there are thousands.
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
from somabrain_operator.cluster.errors import from_code
from somabrain_operator.objects import Json, Manifest, text

TIMEOUT_S: Final = 15.0
"""How long one answer may take."""
MAX_CONNECTIONS: Final = 64
UNAUTHORIZED: Final = 401
APPLY: Final = "application/apply-patch+yaml"
JSON_PATCH: Final = "application/json-patch+json"
JSON: Final = "application/json"


class Transport:
    """An open connection, with the rights of whom we are."""

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
        """Return what the API server answers.

        Args:
            what: the object of a sentence, such as "Deployment demo/quickstart-server", for errors.
            method: of HTTP.
            path: of the object.
            query: of the URL.
            body: what is sent; None: nothing.
            form: the media type of the body.

        Raises:
            SomaBrainError: it refused, failed, or cannot be reached, as `from_code` says.
        """
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"Content-Type": content_type} if data is not None else {}
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, content = await self._send(method, path, query, data, headers)
                if status == UNAUTHORIZED:  # the kubelet has put another token there meanwhile
                    self._session.headers.update(self._log_in().as_http_headers())
                    status, content = await self._send(method, path, query, data, headers)
        except TimeoutError as exc:
            raise Unavailable(f"The API server took longer than {TIMEOUT_S:.0f} s over {target}.") from exc
        except aiohttp.ClientError as exc:
            raise Unavailable(f"The API server did not answer about {target}: {type(exc).__name__}.") from exc
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
    """Return where the API server is and who we are: as the pod's service account, or as KUBECONFIG says."""
    return kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)


@asynccontextmanager
async def open_transport(log_in: Callable[[], kopf.ConnectionInfo | None]) -> AsyncIterator[Transport]:
    """Connect to the API server for the length of the block.

    Args:
        log_in: says where it is and who we are; called again when that is not believed any more.

    Raises:
        ConfigurationError: nothing says where it is.
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
    """Return an answer as what it is: an object; what is none says nothing."""
    try:
        tree = json.loads(content)
    except ValueError:
        return {}
    return cast("Manifest", tree) if isinstance(tree, dict) else {}
