"""Who calls: a bearer token becomes an Identity, or the call is refused.

`jwt` checks signed tokens against the issuer's published keys; `introspection` asks the identity service, which knows
of those that were revoked; `none` believes everybody and is allowed on loopback only.

An answer is kept in process for `cache_s` at most, counted from the moment that what it rests on was asked for, and
never past the token's `exp`; a refusal for `refusal_cache_s`. So an identity service that is gone is noticed within
`cache_s`, and what cannot be known then is Unavailable, never allowed. However many calls bring the same token at
once, it is checked once. No token is kept: what is kept lies under a digest.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from common.config.settings import AuthSettings
from common.errors import ConfigurationError, Unauthenticated
from common.identity import ClaimReader, Identity
from common.introspection import IntrospectionVerifier
from common.jwks import KeySet
from common.jwt_verifier import JwtVerifier
from common.single_flight import SingleFlight
from common.token_verifier import TokenVerifier
from common.ttl_cache import TTLCache

__all__ = [
    "AnonymousAuthenticator",
    "Authenticator",
    "Identity",
    "TokenAuthenticator",
    "is_loopback",
    "open_authenticator",
]

MAX_TOKEN_BYTES = 16_384
MAX_CACHED_TOKENS = 10_000


class Authenticator(Protocol):
    """A way of knowing callers."""

    async def identify(self, token: str | None) -> Identity:
        """Return who carries `token`.

        Raises:
            Unauthenticated: nobody we know; the cause is for metrics only.
            Unavailable: it cannot be found out now.
        """
        ...


class AnonymousAuthenticator:
    """Everybody is one tenant. Only for loopback."""

    def __init__(self, tenant: str) -> None:
        self._identity = Identity("anonymous", tenant, "none", None, float("inf"))

    async def identify(self, token: str | None) -> Identity:
        """Return the one identity there is."""
        return self._identity


class TokenAuthenticator:
    """Tokens, checked by whoever can, and what was found out about them kept for a while."""

    def __init__(self, auth: AuthSettings, verifier: TokenVerifier) -> None:
        self._auth = auth
        self._verifier = verifier
        self._claim_reader = ClaimReader(auth)
        # Two, so that made-up tokens push none of the good ones out.
        self._identities: TTLCache[bytes, Identity] = TTLCache(MAX_CACHED_TOKENS, time.monotonic)
        self._refusals: TTLCache[bytes, str] = TTLCache(MAX_CACHED_TOKENS, time.monotonic)
        self._in_flight: SingleFlight[bytes, Identity] = SingleFlight()

    async def identify(self, token: str | None) -> Identity:
        """Return who carries `token`, from what is kept while its life lasts."""
        if token is None:
            raise Unauthenticated("missing")
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise Unauthenticated("malformed")
        digest = hashlib.sha256(token.encode()).digest()
        if (identity := self._identities.get(digest)) is not None:
            return identity
        if (cause := self._refusals.get(digest)) is not None:
            raise Unauthenticated(cause)
        return await self._in_flight.run(digest, partial(self._verify, token, digest))

    async def _verify(self, token: str, digest: bytes) -> Identity:
        started_at = time.monotonic()
        try:
            verified = await self._verifier.verify(token)
            identity = self._claim_reader.read(verified.claims)
        except Unauthenticated as exc:
            self._refusals.put(digest, exc.cause, started_at + self._auth.refusal_cache_s)
            raise
        # By a clock that nobody sets back: only how long the token still lives is told by the clock on the wall.
        expires_at = time.monotonic() + identity.expires_at - time.time()
        self._identities.put(digest, identity, min(verified.fetched_at + self._auth.cache_s, expires_at))
        return identity


def is_loopback(host: str) -> bool:
    """Whether a server that binds `host` is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@asynccontextmanager
async def open_authenticator(auth: AuthSettings, host: str) -> AsyncIterator[Authenticator]:
    """Make the authenticator that the settings ask for, for a server that binds `host`.

    Raises:
        ConfigurationError: `none` away from loopback, a claim that is no JSON Pointer, or introspection as nobody.
    """
    match auth.mode:
        case "none":
            if not is_loopback(host):
                raise ConfigurationError(
                    f"auth.mode: `none` lets everybody in and needs loopback, but grpc.host is {host}; "
                    "set grpc.host to 127.0.0.1, or auth.mode to jwt or introspection."
                )
            yield AnonymousAuthenticator(auth.anonymous_tenant)
        case "jwt":
            async with KeySet(auth) as keys:
                yield TokenAuthenticator(auth, JwtVerifier(auth, keys))
        case "introspection":
            async with IntrospectionVerifier(auth) as verifier:
                yield TokenAuthenticator(auth, verifier)
