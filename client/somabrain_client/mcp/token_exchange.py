"""Token exchange (RFC 8693): a token for the memory service, of the caller's subject, tenant and scopes at most.

An exchanged token is cached under the digest of the caller's until the earlier of both expiries, less a margin for the
way to the service. Concurrent calls with one token share one exchange. Tokens are never stored beside that, nor logged.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from urllib.parse import quote_plus

import aiohttp
import jwt
import structlog

from common.aio.single_flight import SingleFlight
from common.aio.ttl_cache import TTLCache
from common.auth import claims
from common.auth.identity import Identity, scopes_of
from common.config.settings import AuthSettings, TokenExchangeSettings
from common.errors import ConfigurationError, PermissionDenied, Unauthenticated, Unavailable
from common.health import HealthCheck
from common.net.http_client import describe_failure, http_client, read_json
from common.net.tls import ClientTls

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type, no token
MARGIN_S = 5.0
"""Seconds before its expiry at which a cached token is no longer used."""
MAX_CACHED_TOKENS = 10_000
MAX_CONNECTIONS = 32
CLIENT_ERRORS = frozenset({"invalid_client", "unauthorized_client"})
"""Error codes that refuse the MCP server as a client, not the caller's token (RFC 6749, 5.2)."""
NOT_QUERIED = HealthCheck(True, "No token has been exchanged yet.")

_log = structlog.stdlib.get_logger(__name__)


class TokenExchange:
    """Exchanges tokens at the settings' endpoint. An async context manager: it owns the HTTP session."""

    def __init__(
        self,
        exchange: TokenExchangeSettings,
        auth: AuthSettings,
        current: Callable[[], TokenExchangeSettings],
        count: Callable[[str], None],
    ) -> None:
        """Prepare the requests.

        Args:
            exchange: the settings.
            auth: how callers are authenticated: its tenant claim must be the same in both tokens.
            current: returns the settings as they are now, for a client secret that was rotated.
            count: counts an exchange by its outcome: exchanged, refused, failed.

        Raises:
            ConfigurationError: the URL is not set, or the file of authorities cannot be read.
        """
        if exchange.url is None:
            raise ConfigurationError("mcp.exchange.url: is required; set it to the URL of the token endpoint.")
        self._url = exchange.url
        self._exchange = exchange
        self._claims = TokenClaims(auth)
        self._current = current
        self._count = count
        self._tls = ClientTls("mcp.exchange.", exchange.ca_file)
        self._tokens: TTLCache[bytes, str] = TTLCache(MAX_CACHED_TOKENS, time.monotonic)
        self._in_flight: SingleFlight[bytes, str] = SingleFlight()
        self._session: aiohttp.ClientSession | None = None
        self._check = NOT_QUERIED

    async def __aenter__(self) -> TokenExchange:
        self._session = http_client(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=self._exchange.timeout_s),
            headers={"Accept": "application/json"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def last_check(self) -> HealthCheck:
        """Return the result of the last exchange."""
        return self._check

    async def service_token(self, token: str, identity: Identity) -> str:
        """Return a token for the memory service, cached or newly exchanged, of the bearer of `token`.

        Raises:
            Unauthenticated: the endpoint refuses the caller's token, such as a revoked one.
            PermissionDenied: the endpoint gave a token of another subject or tenant.
            Unavailable: the endpoint gave no valid response, or refuses the MCP server as a client.
        """
        digest = hashlib.sha256(token.encode()).digest()
        if (cached := self._tokens.get(digest)) is not None:
            return cached
        return await self._in_flight.run(digest, partial(self._exchange_once, token, identity, digest))

    def discard(self, token: str) -> None:
        """Remove what was exchanged for `token`: the service refused it."""
        self._tokens.put(hashlib.sha256(token.encode()).digest(), "", float("-inf"))

    async def _exchange_once(self, token: str, identity: Identity, digest: bytes) -> str:
        requested_at = time.monotonic()
        try:
            exchanged, lifetime_s = await self._request(token, identity)
            self._claims.check(exchanged, identity)
        except (Unauthenticated, PermissionDenied) as exc:
            self._count("refused")
            _log.warning("token not exchanged", reason=exc.cause if isinstance(exc, Unauthenticated) else exc.message)
            self._check = HealthCheck(True, "The token endpoint answers.", time.monotonic() - requested_at)
            raise
        except Unavailable as exc:
            self._count("failed")
            if self._check.reason != exc.message:
                _log.warning("token exchange failed", reason=exc.message)
            self._check = HealthCheck(False, exc.message)
            raise
        self._count("exchanged")
        self._check = HealthCheck(True, "The token endpoint answers.", time.monotonic() - requested_at)
        remaining_s = identity.expires_at - time.time() - (time.monotonic() - requested_at)
        self._tokens.put(digest, exchanged, requested_at + min(lifetime_s, remaining_s) - MARGIN_S)
        return exchanged

    async def _request(self, token: str, identity: Identity) -> tuple[str, float]:
        """Return a token for the service and its lifetime in seconds."""
        if self._session is None:
            raise RuntimeError("TokenExchange is used outside its context")
        exchange = self._current()
        form = {
            "grant_type": GRANT_TYPE,
            "subject_token": token,
            "subject_token_type": ACCESS_TOKEN,
            "requested_token_type": ACCESS_TOKEN,
        }
        scope = " ".join(each for each in exchange.scope.split() if identity.scopes is None or each in identity.scopes)
        form.update({name: value for name, value in {"audience": exchange.audience, "scope": scope}.items() if value})
        try:
            # Redirects are not followed: token and secret are for this address only.
            async with self._session.post(
                self._url,
                data=form,
                headers={"Authorization": _authorization(exchange)},
                allow_redirects=False,
                ssl=self._tls.for_url(self._url),
            ) as response:
                status, document = response.status, await read_json(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise Unavailable(f"The token endpoint gave no valid response ({describe_failure(exc)}).") from exc
        fields: Mapping[str, object] = document if isinstance(document, Mapping) else {}
        if status != 200:
            raise _refusal(status, fields)
        exchanged, lifetime = fields.get("access_token"), fields.get("expires_in", 0)
        if not isinstance(exchanged, str) or not exchanged or str(fields.get("token_type", "")).lower() != "bearer":
            raise Unavailable("The token endpoint's response has no bearer token (RFC 8693, 2.2.1).")
        return exchanged, float(lifetime) if isinstance(lifetime, int | float) else 0.0


class TokenClaims:
    """Compares the claims of an exchanged token with the caller's identity.

    The memory service verifies the token; this notices an identity service that is set up to change the caller, or to
    give it more than it has. An opaque token cannot be compared.
    """

    def __init__(self, auth: AuthSettings) -> None:
        self._tenant = claims.parse(auth.tenant_claim, "auth.tenant_claim")
        self._scope = None if auth.scope_claim is None else claims.parse(auth.scope_claim, "auth.scope_claim")

    def check(self, exchanged: str, identity: Identity) -> None:
        """Compare subject, tenant and scopes.

        Raises:
            PermissionDenied: they are not the caller's.
        """
        try:
            payload = jwt.decode(exchanged, options={"verify_signature": False})
        except jwt.PyJWTError:
            return
        subject, tenant = payload.get("sub"), claims.resolve(payload, self._tenant)
        if subject not in (None, identity.subject) or tenant not in (None, identity.tenant):
            raise PermissionDenied("The identity service exchanged the token for one of another subject or tenant.")
        if self._scope is None or identity.scopes is None:
            return
        if more := scopes_of(claims.resolve(payload, self._scope)) - identity.scopes:
            raise PermissionDenied(
                f"The identity service exchanged the token for one with more scopes ({', '.join(sorted(more))}) than "
                "the caller's has; give the MCP server's client these scopes only on request."
            )


def _authorization(exchange: TokenExchangeSettings) -> str:
    if exchange.client_id is None or exchange.client_secret is None:
        raise Unavailable("mcp.exchange.client_id and client_secret are not set.")
    # Each part is form-encoded first (RFC 6749, 2.3.1).
    secret = exchange.client_secret.get_secret_value()
    return aiohttp.encode_basic_auth(quote_plus(exchange.client_id), quote_plus(secret))


def _refusal(status: int, fields: Mapping[str, object]) -> Unauthenticated | Unavailable:
    """Return the error of a response that is not OK."""
    code = fields.get("error")
    if status in {401, 403} or code in CLIENT_ERRORS:
        return Unavailable(
            f"The token endpoint refuses the MCP server's client (status {status}); check mcp.exchange.client_id, "
            "client_secret, and that the client may exchange tokens."
        )
    if status == 400 and code in {"invalid_request", "invalid_grant", "invalid_token"}:
        # The caller's token was valid when it was verified: it has been revoked since, or the audience is not the
        # client's. Keycloak answers both alike.
        return Unauthenticated("not_exchanged")
    return Unavailable(f"The token endpoint answered {status}; check mcp.exchange.audience and scope.")
