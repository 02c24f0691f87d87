"""Bearer tokens verified by introspection at the central identity service (RFC 7662), which knows revoked tokens.

The process authenticates there as a separate client. The response is checked against the same issuer and audience as
a signed token's claims. An invalid response, an error or a timeout is Unavailable, never a success. The file of
authorities, and a client secret in a file, are read again when they change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from urllib.parse import quote_plus

import aiohttp
import structlog

from common.auth.identity import numeric_date
from common.auth.verifier import NOT_PROBED, PROBE_INTERVAL_S, VerifiedToken
from common.config.settings import AuthSettings, IntrospectionSettings
from common.errors import ConfigurationError, Unauthenticated, Unavailable
from common.health import HealthCheck
from common.net.http_client import describe_failure, http_client, read_json
from common.net.tls import ClientTls

MAX_CONNECTIONS = 32
CLIENT_ERRORS = frozenset({"invalid_client", "unauthorized_client", "access_denied"})
"""Error codes of a response with status 400 that refuse this client, not the token (RFC 6749, 5.2)."""
PROBE_TOKEN = "health-probe"  # noqa: S105 - no token: the response says that it is not active
"""Introspected by health probes."""

_log = structlog.stdlib.get_logger(__name__)


class UnexpectedResponse(Exception):
    """The service returned an unexpected status; it is logged, and callers do not see it."""

    def __init__(self, status: int, *, client_refused: bool = False) -> None:
        remedy = "; check auth.introspection.client_id and client_secret" if client_refused else ""
        super().__init__(f"the identity service answered {status}{remedy}")
        self.client_refused = client_refused


class IntrospectionVerifier:
    """Token verifier that queries the endpoint. An async context manager: it owns the HTTP session."""

    def __init__(self, auth: AuthSettings, current: Callable[[], AuthSettings] | None = None) -> None:
        """Prepare the requests.

        Args:
            auth: the settings.
            current: returns the settings as they are now, for a client secret that was rotated; None: it never is.

        Raises:
            ConfigurationError: `client_id` or `client_secret` is not set, or the file of authorities cannot be read.
        """
        introspection = auth.introspection
        self._auth = auth
        self._current = current or (lambda: auth)
        self._url = introspection.address.rstrip("/") + introspection.path
        self._authorization = _authorization(introspection)
        self._tls = ClientTls("auth.introspection.", introspection.ca_file)
        self._check = NOT_PROBED
        self._answered_at = float("-inf")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> IntrospectionVerifier:
        introspection = self._auth.introspection
        self._session = http_client(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=introspection.timeout_s),
            headers={"Accept": "application/json"},
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

    def last_check(self) -> HealthCheck:
        """Return the result of the last introspection."""
        return self._check

    async def probe(self) -> None:
        """Introspect a string that is not a token, unless the service answered within `PROBE_INTERVAL_S`."""
        if time.monotonic() < self._answered_at + PROBE_INTERVAL_S:
            return
        try:
            await self._introspect(PROBE_TOKEN)
        except (Unauthenticated, Unavailable):
            return  # the health check has the reason

    async def _introspect(self, token: str) -> Mapping[str, object]:
        started = time.monotonic()
        try:
            document = await self._request(token)
        except Unauthenticated:
            self._mark_available(started)
            raise
        except (UnexpectedResponse, aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            message = "The identity service gave no valid response, so callers cannot be authenticated."
            self._mark_unavailable(f"{message.removesuffix('.')} ({describe_failure(exc)}).")
            raise Unavailable(message) from exc
        self._mark_available(started)
        return document if isinstance(document, Mapping) else {}

    async def _request(self, token: str) -> object:
        """Return the response's document; if this client is refused, try once more with the secret as it is now."""
        authorization = self._authorization
        try:
            return await self._post(token, authorization)
        except UnexpectedResponse as exc:
            if not exc.client_refused:
                raise
            self._authorization = self._renewed_authorization()
            if self._authorization == authorization:
                raise
        return await self._post(token, self._authorization)

    def _renewed_authorization(self) -> str:
        """Return the header with client id and secret as they are now; the former one if either is missing now."""
        try:
            return _authorization(self._current().introspection)
        except ConfigurationError:
            # The refusal is what is reported: it names both settings.
            return self._authorization

    async def _post(self, token: str, authorization: str) -> object:
        if self._session is None:
            raise RuntimeError("IntrospectionVerifier is used outside its context")
        form = {"token": token, "token_type_hint": "access_token"}
        # Redirects are not followed: token and secret are for this address only.
        async with self._session.post(
            self._url,
            data=form,
            headers={"Authorization": authorization},
            allow_redirects=False,
            ssl=self._tls.for_url(self._url),
        ) as response:
            await _raise_for_status(response)
            return await read_json(response)

    def _mark_available(self, started: float) -> None:
        self._answered_at = time.monotonic()
        if not self._check.ok and self._check is not NOT_PROBED:
            _log.info("identity service available")
        self._check = HealthCheck(True, "The identity service answers.", self._answered_at - started)

    def _mark_unavailable(self, reason: str) -> None:
        if self._check.reason != reason:
            _log.warning("identity service unavailable", reason=reason)
        self._check = HealthCheck(False, reason)


def _authorization(introspection: IntrospectionSettings) -> str:
    if introspection.client_id is None or introspection.client_secret is None:
        raise ConfigurationError(
            "auth.introspection: client_id and client_secret are required with auth.mode=introspection; "
            "register a confidential client at the identity service and set both."
        )
    # Each part is form-encoded first (RFC 6749, 2.3.1).
    secret = introspection.client_secret.get_secret_value()
    return aiohttp.encode_basic_auth(quote_plus(introspection.client_id), quote_plus(secret))


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status == 400:
        if await _error_code(response) in CLIENT_ERRORS:
            raise UnexpectedResponse(400, client_refused=True)
        # Beside the client, the token is the only part that varies: Keycloak answers 400 to one that it cannot parse.
        raise Unauthenticated("malformed")
    if response.status != 200:
        raise UnexpectedResponse(response.status, client_refused=response.status in {401, 403})


async def _error_code(response: aiohttp.ClientResponse) -> object:
    """Return `error` of an error response (RFC 6749, 5.2); None: it has none."""
    try:
        document = await read_json(response)
    except ValueError:
        return None
    code = document.get("error") if isinstance(document, Mapping) else None
    return code if isinstance(code, str) else None


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
    date = numeric_date(claim)
    if date is None:
        raise Unauthenticated("malformed")
    return date
