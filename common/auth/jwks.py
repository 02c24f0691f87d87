"""The issuer's public keys (RFC 7517), fetched over HTTP and cached.

Keys are fetched again when they are older than `cache_s`, and when a token names a key that is not among them, but
at most once per `MIN_REFRESH_INTERVAL_S`: forged key ids cannot be turned into load on the issuer. Only asymmetric
keys are accepted, and a key is used only with the algorithms of its own type (RFC 8725, 3.1).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeGuard

import aiohttp
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from common.auth.verifier import NOT_PROBED, PROBE_INTERVAL_S
from common.config.settings import AuthSettings
from common.errors import Unauthenticated, Unavailable
from common.health import HealthCheck
from common.net.http_client import describe_failure, http_client, read_json
from common.net.tls import ClientTls

ALGORITHMS_BY_KEY_TYPE: Mapping[str, tuple[str, ...]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
ALLOWED_ALGORITHMS = frozenset(name for names in ALGORITHMS_BY_KEY_TYPE.values() for name in names)
FETCH_TIMEOUT_S = 5.0
MIN_REFRESH_INTERVAL_S = 1.0

_log = structlog.stdlib.get_logger(__name__)

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, and the algorithms that it may be used with."""

    key: PublicKey
    algorithms: tuple[str, ...]


def parse_keys(document: object) -> dict[str | None, VerificationKey]:
    """Return the signing keys of a JWK set by key id; those of other uses or types, or malformed, are omitted."""
    entries = document.get("keys") if isinstance(document, Mapping) else None
    keys: dict[str | None, VerificationKey] = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and _is_key_id(key_id := entry.get("kid")) and (key := _parse_key(entry)):
            keys[key_id] = key
    return keys


def _is_key_id(value: object) -> TypeGuard[str | None]:
    return value is None or isinstance(value, str)


def _parse_key(entry: dict[str, Any]) -> VerificationKey | None:
    """Return the signing key of a JWK; None: it is not one, or not understood (RFC 7517, 5: such are ignored)."""
    if entry.get("use", "sig") != "sig":
        return None
    algorithms = ALGORITHMS_BY_KEY_TYPE.get(str(entry.get("kty")), ())
    if (declared := entry.get("alg")) is not None:
        algorithms = tuple(name for name in algorithms if name == declared)
    if not algorithms:
        return None
    try:
        # Not PyJWKSet: it has one algorithm per key, whether declared or not, and fails if no key is usable.
        key = jwt.PyJWK.from_dict(entry).key
    except (jwt.PyJWTError, TypeError, ValueError):
        return None
    # A private key that is published verifies nothing: whoever reads it signs tokens.
    return VerificationKey(key, algorithms) if isinstance(key, PublicKey) else None


class KeySet:
    """The keys at `auth.jwks_url`. An async context manager: it owns the HTTP session.

    The file of authorities and the token for `jwks_url` are read again at each fetch: both are rotated on disk.
    """

    def __init__(self, auth: AuthSettings) -> None:
        """Read the file of authorities.

        Raises:
            ConfigurationError: it cannot be read as PEM.
        """
        self._auth = auth
        self._tls = ClientTls("auth.jwks_", auth.jwks_ca_file)
        self._check = NOT_PROBED
        self._keys: dict[str | None, VerificationKey] = {}
        self._lock = asyncio.Lock()
        self._attempted_at = float("-inf")
        self._failed = False
        self._session: aiohttp.ClientSession | None = None
        self.fetched_at = float("-inf")
        """Monotonic time of the last successful fetch, in seconds; -inf: none yet."""

    async def __aenter__(self) -> KeySet:
        self._session = http_client(
            connector=aiohttp.TCPConnector(limit=2), timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def last_check(self) -> HealthCheck:
        """Return the result of the last fetch."""
        return self._check

    async def probe(self) -> None:
        """Fetch the keys, unless they were fetched within `PROBE_INTERVAL_S`, and update the health check."""
        if time.monotonic() < self.fetched_at + PROBE_INTERVAL_S:
            return
        try:
            await self._refresh(self.fetched_at)
        except Unavailable:
            return  # the health check has the reason

    async def find(self, key_id: object, algorithm: object) -> VerificationKey:
        """Return the key that a token names.

        Raises:
            Unauthenticated: the algorithm is not allowed or there is no such key.
            Unavailable: the keys cannot be fetched now.
        """
        if not isinstance(algorithm, str) or algorithm not in ALLOWED_ALGORITHMS:
            raise Unauthenticated("wrong_algorithm")
        if time.monotonic() >= self.fetched_at + self._auth.cache_s:
            await self._refresh(self.fetched_at)
        key = self._lookup(key_id)
        if key is None:
            await self._refresh(self.fetched_at)
            key = self._lookup(key_id)
        if key is None:
            raise Unauthenticated("unknown_key")
        if algorithm not in key.algorithms:
            raise Unauthenticated("wrong_algorithm")
        return key

    def _lookup(self, key_id: object) -> VerificationKey | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id) if isinstance(key_id, str) else None

    async def _refresh(self, stale_fetched_at: float) -> None:
        """Fetch the keys, unless they were fetched after `stale_fetched_at` or the last attempt is too recent."""
        async with self._lock:
            if self.fetched_at > stale_fetched_at:
                return
            if time.monotonic() < self._attempted_at + MIN_REFRESH_INTERVAL_S:
                if self._failed:
                    raise Unavailable("The keys of the token issuer could not be read a moment ago. Try again.")
                return
            # Taken before the request: the lifetime of a response starts when it was requested.
            requested_at = self._attempted_at = time.monotonic()
            self._failed = True
            try:
                self._keys = parse_keys(await self._fetch())
            except Unavailable as exc:
                # Those who waited for this attempt do not wait for one of their own, each after the other.
                self._attempted_at = time.monotonic()
                self._mark_unavailable(exc)
                raise
            self._failed = False
            self.fetched_at = requested_at
            if not self._check.ok and self._check is not NOT_PROBED:
                _log.info("token issuer available")
            self._check = HealthCheck(True, "The issuer's keys can be read.", time.monotonic() - requested_at)

    def _mark_unavailable(self, exc: Unavailable) -> None:
        reason = f"{exc.message.removesuffix('.')} ({describe_failure(exc.__cause__)})."
        if self._check.reason != reason:
            _log.warning("token issuer unavailable", reason=reason)
        self._check = HealthCheck(False, reason)

    async def _fetch(self) -> object:
        if self._session is None:
            raise RuntimeError("KeySet is used outside its context")
        try:
            headers = {}
            if (path := self._auth.jwks_token_file) is not None:
                token = await asyncio.to_thread(path.read_text)
                headers["Authorization"] = f"Bearer {token.strip()}"
            async with self._session.get(
                self._auth.jwks_url, headers=headers, ssl=self._tls.for_url(self._auth.jwks_url)
            ) as response:
                response.raise_for_status()
                return await read_json(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise Unavailable(
                "The keys of the token issuer cannot be read, so callers cannot be authenticated."
            ) from exc
