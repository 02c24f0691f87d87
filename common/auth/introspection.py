"""Bearer tokens verified by introspection at the central identity service (RFC 7662), which knows revoked tokens.

The process authenticates there as a client of its own. The response is checked against the same issuer and audience as
a signed token's claims. An invalid response, an error or a timeout is Unavailable, never a success.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType
from urllib.parse import quote_plus

import aiohttp

from common.auth.verifier import VerifiedToken
from common.config.settings import AuthSettings
from common.errors import ConfigurationError, Unauthenticated, Unavailable
from common.net.http_client import http_client
from common.net.tls import ca_context

MAX_CONNECTIONS = 32


class UnexpectedResponse(Exception):
    """The service returned an unexpected status; it is logged, and callers do not see it."""

    def __init__(self, status: int) -> None:
        remedy = "; check auth.introspection.client_id and client_secret" if status in {401, 403} else ""
        super().__init__(f"the identity service answered {status}{remedy}")


class IntrospectionVerifier:
    """Token verifier that queries the endpoint. An async context manager: it owns the HTTP session."""

    def __init__(self, auth: AuthSettings) -> None:
        """Prepare the requests.

        Raises:
            ConfigurationError: `client_id` or `client_secret` is not set.
        """
        introspection = auth.introspection
        if introspection.client_id is None or introspection.client_secret is None:
            raise ConfigurationError(
                "auth.introspection: client_id and client_secret are required with auth.mode=introspection; "
                "register a confidential client at the identity service and set both."
            )
        self._auth = auth
        self._url = introspection.address.rstrip("/") + introspection.path
        # Each part is form-encoded first (RFC 6749, 2.3.1).
        secret = introspection.client_secret.get_secret_value()
        self._authorization = aiohttp.encode_basic_auth(quote_plus(introspection.client_id), quote_plus(secret))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> IntrospectionVerifier:
        introspection = self._auth.introspection
        self._session = http_client(
            connector=aiohttp.TCPConnector(
                ssl=ca_context(introspection.ca_file, "auth.introspection.ca_file"), limit=MAX_CONNECTIONS
            ),
            timeout=aiohttp.ClientTimeout(total=introspection.timeout_s),
            headers={"Accept": "application/json", "Authorization": self._authorization},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def verify(self, token: str) -> VerifiedToken:
        """Return the claims of `token`, as the service reports them."""
        requested_at = time.monotonic()
        claims = await self._introspect(token)
        match claims.get("active"):
            case True:
                check_claims(claims, self._auth, time.time())
                return VerifiedToken(claims, requested_at)
            case False:
                # Expired, revoked, of another realm, or forged: by the RFC the service does not say which (2.2).
                raise Unauthenticated("inactive")
            case _:
                raise Unavailable("The identity service's response has no boolean field `active` (RFC 7662, 2.2).")

    async def _introspect(self, token: str) -> Mapping[str, object]:
        if self._session is None:
            raise RuntimeError("IntrospectionVerifier is used outside its context")
        form = {"token": token, "token_type_hint": "access_token"}
        try:
            # Redirects are not followed: token and secret are for this address only.
            async with self._session.post(self._url, data=form, allow_redirects=False) as response:
                _check_status(response.status)
                document: object = await response.json()
        except (UnexpectedResponse, aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise Unavailable(
                "The identity service gave no valid response, so callers cannot be authenticated."
            ) from exc
        return document if isinstance(document, Mapping) else {}


def _check_status(status: int) -> None:
    if status == 400:
        # The token is the only part of the request that varies: Keycloak answers 400 to one that it cannot parse.
        raise Unauthenticated("malformed")
    if status != 200:
        raise UnexpectedResponse(status)


def check_claims(claims: Mapping[str, object], auth: AuthSettings, now: float) -> None:
    """Check an active token's claims against the settings, as a signed token's are.

    Raises:
        Unauthenticated: the token is of another issuer, audience or type, or not valid at `now`.
    """
    if any(claims.get(name) is None for name in ("exp", "iss", "aud", "sub")):
        raise Unauthenticated("claim_missing")
    # A refresh token is active, too, and one that is bound to a key (DPoP) is not valid without that key.
    kind = claims.get("token_type")
    if kind is not None and str(kind).lower() != "bearer":
        raise Unauthenticated("wrong_type")
    if claims["iss"] != auth.issuer:
        raise Unauthenticated("wrong_issuer")
    audience = claims["aud"]
    if auth.audience not in (audience if isinstance(audience, list) else [audience]):
        raise Unauthenticated("wrong_audience")
    if not _numeric_date(claims["exp"]) + auth.leeway_s > now:
        raise Unauthenticated("expired")
    if claims.get("nbf") is not None and _numeric_date(claims["nbf"]) - auth.leeway_s > now:
        raise Unauthenticated("not_yet_valid")


def _numeric_date(claim: object) -> float:
    if not isinstance(claim, int | float) or not math.isfinite(claim):
        raise Unauthenticated("malformed")
    return float(claim)
