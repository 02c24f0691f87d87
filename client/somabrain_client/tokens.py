"""Where a bearer token comes from: a value, a file that is rotated on disk, a callable, or a token endpoint."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

TokenSource = str | Path | Callable[[], str | Awaitable[str]]


class TokenError(ValueError):
    """What is there is no token; the message does not hold it."""


class ClientCredentials:
    """Tokens for a client that knows its secret (OAuth 2.0 client credentials, RFC 6749, 4.4).

    A token is kept until three quarters of its life are over, then fetched anew; while that fails, it serves until
    it ends. One that the service refuses is not used again.
    """

    TIMEOUT_S = 5.0
    RENEW_AT = 0.75

    def __init__(
        self, token_url: str, client_id: str, client_secret: str | Path, *, scope: str = "", ca_file: Path | None = None
    ) -> None:
        """Fetch on first use.

        Args:
            token_url: the token endpoint.
            client_id: of the client.
            client_secret: the secret, or a file that holds it, read again for each token.
            scope: scopes to ask for, space-separated; empty: the client's default.
            ca_file: PEM bundle that signs the endpoint's certificate. None: the system's.
        """
        self._url = token_url
        self._id = client_id
        self._secret = client_secret
        self._scope = scope
        self._ca_file = ca_file
        self._token = ""
        self._renew_at = self._ends_at = float("-inf")
        self._lock = asyncio.Lock()

    async def __call__(self) -> str:
        """Return a token that is good for now.

        Raises:
            TokenError: the endpoint gives none; says why, without the secret.
        """
        if time.monotonic() < self._renew_at:
            return self._token
        async with self._lock:
            if time.monotonic() >= self._renew_at:
                try:
                    await self._renew()
                except TokenError:
                    if time.monotonic() >= self._ends_at:
                        raise
            return self._token

    def discard(self, token: str) -> None:
        """Do not use a token again that was refused, as one that was revoked is."""
        if token == self._token:
            self._renew_at = self._ends_at = float("-inf")

    async def _renew(self) -> None:
        asked_at = time.monotonic()
        answer = await asyncio.to_thread(self._fetch)
        token, life_s = answer.get("access_token"), answer.get("expires_in", 0)
        if not isinstance(token, str) or not isinstance(life_s, int | float):
            raise TokenError(f"The token endpoint {self._url} answered without an access_token.")
        self._token = _checked(token, f"What the token endpoint {self._url} answered")
        self._renew_at, self._ends_at = asked_at + life_s * self.RENEW_AT, asked_at + life_s

    def _fetch(self) -> dict[str, object]:
        secret = self._secret.read_text().strip() if isinstance(self._secret, Path) else self._secret
        pair = ":".join(urllib.parse.quote(part, safe="") for part in (self._id, secret))
        form = {"grant_type": "client_credentials", **({"scope": self._scope} if self._scope else {})}
        request = urllib.request.Request(  # noqa: S310 - the caller names the endpoint
            self._url,
            urllib.parse.urlencode(form).encode(),
            {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}", "Accept": "application/json"},
        )
        trust = ssl.create_default_context(cafile=self._ca_file) if self._url.startswith("https:") else None
        try:
            with urllib.request.urlopen(request, timeout=self.TIMEOUT_S, context=trust) as response:  # noqa: S310
                answer = json.load(response)
        except urllib.error.HTTPError as exc:
            raise TokenError(
                f"The token endpoint {self._url} refused client {self._id} with status {exc.code}; check its secret."
            ) from exc
        except (OSError, ValueError) as exc:
            raise TokenError(f"The token endpoint {self._url} gave no answer that can be read.") from exc
        return answer if isinstance(answer, dict) else {}


async def read_token(source: TokenSource) -> str:
    """Return the token as it is now; a file is read again each time, because a kubelet rotates it.

    Raises:
        TokenError: it is empty, or holds what cannot stand in a header.
        OSError: its file cannot be read.
    """
    if isinstance(source, str):
        return _checked(source, "The token given")
    if isinstance(source, Path):
        text = await asyncio.to_thread(source.read_text, encoding="ascii", errors="replace")
        return _checked(text.strip(), f"What {source} holds")
    token = source()
    return _checked(await token if inspect.isawaitable(token) else token, "What the callable returned")


def _checked(token: str, what: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise TokenError(f"{what} is no bearer token: letters, digits and -._~+/= alone, at least one.")
    return token


_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1
