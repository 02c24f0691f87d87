"""The bearer token of a call's `authorization` (RFC 6750, 2.1)."""

from __future__ import annotations


def bearer_token(header: str | None) -> str | None:
    """Return the bearer token; None if the header is missing or not exactly one bearer token."""
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    # A comma means that the header was sent twice; the server must not guess which identity is meant.
    if scheme.lower() != "bearer" or not token or "," in token:
        return None
    return token.strip()
