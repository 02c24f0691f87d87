"""Signed bearer tokens (RFC 7519), verified locally by the rules of RFC 8725."""

from __future__ import annotations

import jwt

from common.auth.jwks import KeySet
from common.auth.verifier import VerifiedToken
from common.config.settings import AuthSettings
from common.errors import Unauthenticated
from common.health import HealthCheck

# Types of signed tokens that authenticate; others, such as logout tokens, may be signed with the same key.
ALLOWED_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})

# The cause for metrics and logs, by PyJWT's exception; the first matching class wins.
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


class JwtVerifier:
    """Token verifier that checks the signature with the issuer's keys."""

    def __init__(self, auth: AuthSettings, keys: KeySet) -> None:
        self._auth = auth
        self._keys = keys

    async def verify(self, token: str) -> VerifiedToken:
        """Return the claims of `token`, if a key of the issuer signed it."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as exc:
            raise Unauthenticated("malformed") from exc
        # Tokens of Kubernetes have no `typ`.
        if str(header.get("typ", "JWT")).lower() not in ALLOWED_TYPES:
            raise Unauthenticated("wrong_type")
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
        except (jwt.PyJWTError, OverflowError) as exc:  # JSON has infinite numbers, and PyJWT none in a date
            cause = next((cause for kind, cause in _CAUSES if isinstance(exc, kind)), "malformed")
            raise Unauthenticated(cause) from exc
        return VerifiedToken(claims, self._keys.fetched_at)

    def last_check(self) -> HealthCheck:
        """Return the last health check of the issuer's keys."""
        return self._keys.last_check()

    async def probe(self) -> None:
        """Fetch the issuer's keys, unless they were fetched a moment ago."""
        await self._keys.probe()
