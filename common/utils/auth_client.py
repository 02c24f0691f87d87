"""Authentication: a bearer token becomes an Identity, or the call is rejected.

`jwt` verifies signed tokens with the issuer's published keys; `introspection` queries the identity service, which knows
revoked tokens; `none` accepts every caller and is allowed on loopback only.

An identity is cached in the process for at most `cache_s`, counted from the request for the keys or the introspection,
and never past the token's `exp`; a rejection for `refusal_cache_s`. So a failure of the identity service shows within
`cache_s`; a token that cannot be verified then is Unavailable, never accepted. Concurrent calls with the same token
share one verification. Tokens are not stored: cache keys are digests.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from common.aio.single_flight import SingleFlight
from common.aio.ttl_cache import TTLCache
from common.auth.identity import ClaimReader, Identity
from common.auth.verifier import PROBE_INTERVAL_S, TokenVerifier
from common.config.settings import AuthSettings
from common.errors import ConfigurationError, Unauthenticated
from common.health import HealthProbe

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
    """Authenticates callers."""

    async def identify(self, token: str | None) -> Identity:
        """Return the identity of the bearer of `token`; None: the call carries no token.

        Raises:
            Unauthenticated: the token is missing or invalid; the cause is for metrics only.
            Unavailable: it cannot be verified now.
        """
        ...

    def checks(self) -> dict[str, HealthProbe]:
        """Return the health probe of the token issuer for /healthz; empty if there is no issuer."""
        ...

    async def watch(self) -> None:
        """Probe the token issuer every `PROBE_INTERVAL_S`, until cancelled."""
        ...


class AnonymousAuthenticator:
    """Gives every caller the same tenant. Only for loopback."""

    def __init__(self, tenant: str) -> None:
        self._identity = Identity("anonymous", tenant, "none", None, float("inf"))

    async def identify(self, token: str | None) -> Identity:
        """Return the anonymous identity."""
        return self._identity

    def checks(self) -> dict[str, HealthProbe]:
        """Return no probes."""
        return {}

    async def watch(self) -> None:
        """Return: there is nothing to probe."""


class TokenAuthenticator:
    """Authenticates by bearer token, with a cache of identities and rejections around a TokenVerifier."""

    def __init__(
        self, auth: AuthSettings, verifier: TokenVerifier, *, max_cached_tokens: int = MAX_CACHED_TOKENS
    ) -> None:
        self._auth = auth
        self._verifier = verifier
        self._claim_reader = ClaimReader(auth)
        # Two caches, so that forged tokens never evict valid ones.
        self._identities: TTLCache[bytes, Identity] = TTLCache(max_cached_tokens, time.monotonic)
        self._refusals: TTLCache[bytes, str] = TTLCache(max_cached_tokens, time.monotonic)
        self._in_flight: SingleFlight[bytes, Identity] = SingleFlight()

    async def identify(self, token: str | None) -> Identity:
        """Return the identity of the bearer of `token`, cached or newly verified."""
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

    def checks(self) -> dict[str, HealthProbe]:
        """Return the health probe of the token issuer."""
        return {"issuer": self._verifier.last_check}

    async def watch(self) -> None:
        """Probe the token issuer every `PROBE_INTERVAL_S`, until cancelled."""
        while True:
            await self._verifier.probe()
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def _verify(self, token: str, digest: bytes) -> Identity:
        started_at = time.monotonic()
        try:
            verified = await self._verifier.verify(token)
            identity = self._claim_reader.read(verified.claims)
        except Unauthenticated as exc:
            self._refusals.put(digest, exc.cause, started_at + self._auth.refusal_cache_s)
            raise
        # On the monotonic clock, which is never set back: the wall clock gives only the remaining lifetime.
        expires_at = time.monotonic() + identity.expires_at - time.time()
        self._identities.put(digest, identity, min(verified.fetched_at + self._auth.cache_s, expires_at))
        return identity


def is_loopback(host: str) -> bool:
    """Return True if a server bound to `host` is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@asynccontextmanager
async def open_authenticator(
    auth: AuthSettings, host: str, current: Callable[[], AuthSettings] | None = None, *, setting: str = "grpc.host"
) -> AsyncIterator[Authenticator]:
    """Yield the authenticator for `auth.mode`, for a server bound to `host`.

    Args:
        auth: the settings.
        host: the server's address.
        current: returns the settings as they are now, for a client secret that was rotated; None: it never is.
        setting: name of the setting that `host` comes from, for errors.

    Raises:
        ConfigurationError: mode `none` with a host that is not loopback, a claim setting that is not a JSON Pointer,
            or introspection without client credentials.
    """
    match auth.mode:
        case "none":
            if not is_loopback(host):
                raise ConfigurationError(
                    f"auth.mode: `none` accepts every caller and requires a loopback host, but {setting} is {host}; "
                    f"set {setting} to 127.0.0.1, or auth.mode to jwt or introspection."
                )
            yield AnonymousAuthenticator(auth.anonymous_tenant)
        case "jwt":
            # Here, as below: importing both takes a tenth of a second, and one is used at most.
            from common.auth.jwks import KeySet
            from common.auth.jwt import JwtVerifier

            async with KeySet(auth) as keys:
                yield TokenAuthenticator(auth, JwtVerifier(auth, keys))
        case "introspection":
            from common.auth.introspection import IntrospectionVerifier

            async with IntrospectionVerifier(auth, current) as verifier:
                yield TokenAuthenticator(auth, verifier)
