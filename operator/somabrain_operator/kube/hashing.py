"""Content hashes: equal values give equal hashes, in any order of their keys."""

from __future__ import annotations

import hashlib
import json

from somabrain_operator.kube.objects import Json

HEX_DIGITS = 16
"""64 bits: two children of one resource do not collide by chance."""


def content_hash(value: Json) -> str:
    """Return 16 hex digits of the SHA-256 of `value` as canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:HEX_DIGITS]


def secret_hash(salt: str, value: bytes) -> str:
    """Return a hash of secret bytes, salted so that equal secrets of two resources have different hashes."""
    return hashlib.sha256(salt.encode() + b"\0" + value).hexdigest()[:HEX_DIGITS]
