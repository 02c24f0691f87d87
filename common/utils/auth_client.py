"""Who calls: a bearer token becomes an Identity, or the call is refused.

`jwt` checks signed tokens (RFC 7519, RFC 8725) against the issuer's published keys (RFC 7517); `none` believes
everybody and is allowed on loopback only. Another way of knowing callers joins as one more `Authenticator`.

An answer is kept in process for `cache_s` at most, counted from the moment the keys it rests on were read, and
never past the token's `exp`; so an issuer that is gone is noticed within `cache_s`, and what cannot be known
then is Unavailable, never allowed. No token is kept: the cache's key is a digest.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import jwt

from common import pointer
from common.config.settings import AuthSettings
from common.errors import ConfigurationError, Unauthenticated
from common.expiring import ExpiringCache
from common.jwks import KeySet

MAX_TOKEN_BYTES = 16_384
MAX_KEPT_TOKENS = 10_000

# What PyJWT found wrong, as a word for metrics and logs. The first class that fits counts.
_CAUSES: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "expired"),
    (jwt.ImmatureSignatureError, "not_yet_valid"),
    (jwt.InvalidIssuedAtError, "not_yet_valid"),
    (jwt.InvalidAudienceError, "wrong_audience"),
    (jwt.InvalidIssuerError, "wrong_issuer"),
    (jwt.MissingRequiredClaimError, "claim_missing"),
    (jwt.InvalidAlgorithmError, "wrong_algorithm"),
    (jwt.InvalidSignatureError, "wrong_signature"),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller that is known."""

    subject: str
    tenant: str
    issuer: str
    scopes: frozenset[str] | None
    """None: no scope claim is configured, so none is asked for."""
    expires_at: float
    """Seconds since the epoch; infinite when the identity rests on no token."""


class Authenticator(Protocol):
    """A way of knowing callers."""

    async def identify(self, token: str | None) -> Identity:
        """Return who carries `token`.

        Raises:
            Unauthenticated: nobody we know; the cause is for metrics only.
            Unavailable: it cannot be found out now.
        """
        ...


class NoAuthenticator:
    """Everybody is one tenant. Only for loopback."""

    def __init__(self, tenant: str) -> None:
        self._identity = Identity("anonymous", tenant, "none", None, float("inf"))

    async def identify(self, token: str | None) -> Identity:
        """Return the one identity there is."""
        return self._identity


class JwtAuthenticator:
    """Tokens signed by the issuer, checked here."""

    def __init__(self, auth: AuthSettings, keys: KeySet) -> None:
        self._auth = auth
        self._keys = keys
        self._tenant = pointer.parse(auth.tenant_claim, "auth.tenant_claim")
        self._scope = None if auth.scope_claim is None else pointer.parse(auth.scope_claim, "auth.scope_claim")
        self._kept: ExpiringCache[bytes, Identity] = ExpiringCache(MAX_KEPT_TOKENS, time.time)

    async def identify(self, token: str | None) -> Identity:
        """Return who carries `token`, from the cache while its life lasts."""
        if token is None:
            raise Unauthenticated("missing")
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise Unauthenticated("malformed")
        digest = hashlib.sha256(token.encode()).digest()
        identity = self._kept.get(digest)
        if identity is None:
            identity = await self._check(token)
            until = min(self._keys.read_at + self._auth.cache_s, identity.expires_at)
            self._kept.put(digest, identity, until)
        return identity

    async def _check(self, token: str) -> Identity:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as exc:
            raise Unauthenticated("malformed") from exc
        key = await self._keys.find(header.get("kid"), header.get("alg"))
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=list(key.algorithms),
                audience=self._auth.audience,
                issuer=self._auth.issuer,
                leeway=self._auth.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as exc:
            cause = next((cause for kind, cause in _CAUSES if isinstance(exc, kind)), "malformed")
            raise Unauthenticated(cause) from exc
        return self._identity(claims)

    def _identity(self, claims: Mapping[str, object]) -> Identity:
        tenant = pointer.resolve(claims, self._tenant)
        if not isinstance(tenant, str) or not tenant:
            raise Unauthenticated("tenant_missing")
        expires_at = claims["exp"]
        if not isinstance(expires_at, int | float):
            raise Unauthenticated("malformed")
        scopes = None if self._scope is None else _scopes(pointer.resolve(claims, self._scope))
        return Identity(str(claims["sub"]), tenant, str(claims["iss"]), scopes, float(expires_at))


def _scopes(claim: object) -> frozenset[str]:
    """Return the scopes of a claim: a list, or a space-separated string (RFC 8693, 4.2); none of anything else."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list):
        return frozenset(item for item in claim if isinstance(item, str))
    return frozenset()


def is_loopback(host: str) -> bool:
    """Whether a server that binds `host` is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@asynccontextmanager
async def authenticator(auth: AuthSettings, host: str) -> AsyncIterator[Authenticator]:
    """Make the authenticator that the settings ask for, for a server that binds `host`.

    Raises:
        ConfigurationError: `none` away from loopback, or a claim that is no JSON Pointer.
    """
    if auth.mode == "none":
        if not is_loopback(host):
            raise ConfigurationError(
                f"auth.mode: `none` lets everybody in and needs loopback, but grpc.host is {host}; "
                "set grpc.host to 127.0.0.1, or auth.mode to jwt."
            )
        yield NoAuthenticator(auth.none_tenant)
        return
    async with KeySet(auth) as keys:
        yield JwtAuthenticator(auth, keys)
