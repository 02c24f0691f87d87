"""The request id of a write (AIP-155): what of it is kept, for 24 hours.

Neither the id nor the body is kept. The key is a digest of tenant and id; the body is a digest keyed by the id, so
whoever reads the table but does not have the id cannot even try texts against it.
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
    """What stands for a request."""

    key: bytes
    body_hash: bytes


def request_key(tenant: TenantId, request_id: str, *body: object) -> RequestKey | None:
    """The key of a request; None: it has no id. `body` is all that makes it the same request, its method first.

    Raises:
        InvalidArgument: the id is too long.
    """
    limits.check_text("request_id", request_id, limits.REQUEST_ID_BYTES)
    if not request_id:
        return None
    secret = hashlib.blake2b(request_id.encode(), key=tenant.bytes, digest_size=32).digest()
    return RequestKey(
        hashlib.blake2b(secret, digest_size=16).digest(),
        hashlib.blake2b(canonical_bytes(list(body)), key=secret, digest_size=16).digest(),
    )


def request_id_reused() -> AlreadyExists:
    """The error of an id that came before with something else."""
    return AlreadyExists("request_id: was used for another request; use a new id for each request.")
