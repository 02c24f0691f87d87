"""Sources of bearer tokens: a value, a file that is rotated on disk, a callable, or a token endpoint."""

from __future__ import annotations

import asyncio
import base64
import http.client
import inspect
import ipaddress
import math
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

from common.json_document import parse_json

MAX_RESPONSE_BYTES = 1024 * 1024
"""Maximum size of a token endpoint's response."""

TokenSource = str | Path | Callable[[], str | Awaitable[str]]


class TokenError(ValueError):
    """A token source gives no valid token; the message never contains the value."""


class ClientCredentials:
    """Token source for a confidential client (OAuth 2.0 client credentials, RFC 6749, 4.4).

    A token is cached for three quarters of its lifetime, then renewed; while renewal fails, it is used until it
    expires. A token that the service rejects is not used again.
    """

    TIMEOUT_S = 5.0
    RENEW_AT = 0.75

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str | Path,
        *,
        scope: str = "",
        audience: str = "",
        ca_file: Path | None = None,
    ) -> None:
        """Store the arguments; the first token is fetched on first use.

        Args:
            token_url: URL of the token endpoint.
            client_id: identifier of the client.
            client_secret: the secret, or the path of a file that contains it, read again for each token.
            scope: requested scopes, space-separated, as Entra ID requires; empty: the client's default.
            audience: requested audience, for endpoints that take this parameter, such as Auth0's; empty: not sent.
            ca_file: PEM authorities of the endpoint's certificate; None: the system's.

        The environment's proxy is used for endpoints outside the machine and the cluster.
        """
        self._url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = scope
        self._audience = audience
        self._ca_file = ca_file
        self._token = ""
        self._renew_at = self._expires_at = float("-inf")
        # One per event loop: clients on several loops may share this object, and a forked process has its own loop.
        self._locks: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}

    async def __call__(self) -> str:
        """Return a token that is valid now.

        Raises:
            TokenError: the endpoint returned no valid token; the message gives the reason, without the secret.
            OSError: the file of the secret cannot be read.
        """
        if time.monotonic() < self._renew_at:
            return self._token
        async with self._lock():
            if time.monotonic() >= self._renew_at:
                try:
                    await self._renew()
                except (TokenError, OSError):  # OSError: the file of the secret cannot be read, as while it is replaced
                    if time.monotonic() >= self._expires_at:
                        raise
            return self._token

    def _lock(self) -> asyncio.Lock:
        """Return the lock of the running event loop, and forget those of closed ones: a lock refers to its loop."""
        for loop in [each for each in list(self._locks) if each.is_closed()]:
            self._locks.pop(loop, None)
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def discard(self, token: str) -> None:
        """Remove a rejected token from the cache, for example a revoked one."""
        if token == self._token:
            self._renew_at = self._expires_at = float("-inf")

    async def _renew(self) -> None:
        requested_at = time.monotonic()
        document = await asyncio.to_thread(self._fetch)
        token = document.get("access_token")
        if not isinstance(token, str):
            raise TokenError(f"The response of the token endpoint {self._url} has no access_token.")
        expires_in_s = _seconds(document.get("expires_in"))
        if expires_in_s is None:
            raise TokenError(
                f"The response of the token endpoint {self._url} has an invalid expires_in; it must be a number of "
                "seconds of at least 0, such as 3600, or be omitted."
            )
        self._token = _validated(token, f"The access_token from the token endpoint {self._url}")
        self._renew_at, self._expires_at = requested_at + expires_in_s * self.RENEW_AT, requested_at + expires_in_s

    def _fetch(self) -> dict[str, object]:
        secret = (
            self._client_secret.read_text(encoding="utf-8").strip()
            if isinstance(self._client_secret, Path)
            else self._client_secret
        )
        basic_credentials = ":".join(urllib.parse.quote(part, safe="") for part in (self._client_id, secret))
        optional = {"scope": self._scope, "audience": self._audience}
        form = {"grant_type": "client_credentials", **{name: value for name, value in optional.items() if value}}
        request = urllib.request.Request(  # noqa: S310 - the caller names the endpoint
            self._url,
            urllib.parse.urlencode(form).encode(),
            {
                "Authorization": f"Basic {base64.b64encode(basic_credentials.encode()).decode()}",
                "Accept": "application/json",
            },
        )
        handlers: list[urllib.request.BaseHandler] = []
        if self._url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self._ca_file)))
        if _is_local(urllib.parse.urlsplit(self._url).hostname or ""):
            handlers.append(urllib.request.ProxyHandler({}))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=self.TIMEOUT_S) as response:
                document = parse_json(response.read(MAX_RESPONSE_BYTES))
        except urllib.error.HTTPError as exc:
            raise TokenError(
                f"The token endpoint {self._url} refused client {self._client_id} with status {exc.code}; "
                "check its secret, scope and audience."
            ) from exc
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise TokenError(f"The token endpoint {self._url} gave no valid response.") from exc
        return document if isinstance(document, dict) else {}


async def read_token(source: TokenSource) -> str:
    """Return the current token; a file is read again each time, because the kubelet rotates it.

    Raises:
        TokenError: it is empty, or has characters that are invalid in a header.
        OSError: the file cannot be read.
    """
    if isinstance(source, str):
        return _validated(source, "The given token")
    if isinstance(source, Path):
        text = await asyncio.to_thread(source.read_text, encoding="ascii", errors="replace")
        return _validated(text.strip(), f"The content of {source}")
    token = source()
    return _validated(await token if inspect.isawaitable(token) else token, "The callable's return value")


def _seconds(value: object) -> float | None:
    """Return the lifetime of a token; some endpoints write it as a string. 0 without one; None: it is invalid."""
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (OverflowError, ValueError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _is_local(host: str) -> bool:
    """Return whether a proxy cannot reach a host: loopback, a name without a domain, or a Service of the cluster."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        name = host.rstrip(".")
        return "." not in name or name.endswith((".localhost", ".svc", ".svc.cluster.local"))


def _validated(token: str, origin: str) -> str:
    if not _TOKEN_PATTERN.fullmatch(token):
        raise TokenError(f"{origin} is not a bearer token; it must be one or more letters, digits and -._~+/=.")
    return token


_TOKEN_PATTERN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1
