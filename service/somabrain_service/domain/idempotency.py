"""Idempotency keys from the request id of a write (AIP-155), stored for 24 hours.

Neither the id nor the body is stored. The key is a hash of tenant and id; the body hash is keyed by the id, so a reader
of the table without the id cannot even test guessed texts against it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from common.errors import AlreadyExists
from somabrain_service.domain import limits
from somabrain_service.domain.canonical import canonical_bytes
from somabrain_service.domain.names import TenantId

IDEMPOTENCY_TTL = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Stored identity of a request: hash of its id, and hash of its body keyed by the id."""

    key: bytes
    body_hash: bytes


def request_key(tenant: TenantId, request_id: str, *body: object) -> RequestKey | None:
    """Return the key of a request; None: it has no id. `body`: all that identifies the request, its method first.

    Raises:
        InvalidArgument: the id is too long.
    """
    limits.check_text("request_id", request_id, limits.MAX_REQUEST_ID_BYTES)
    if not request_id:
        return None
    secret = hashlib.blake2b(request_id.encode(), key=tenant.bytes, digest_size=32).digest()
    return RequestKey(
        hashlib.blake2b(secret, digest_size=16).digest(),
        hashlib.blake2b(canonical_bytes(list(body)), key=secret, digest_size=16).digest(),
    )


def request_id_reused() -> AlreadyExists:
    """Return the error for an id that was used before with another body."""
    return AlreadyExists("request_id: was used for another request; use a new id for each request.")
