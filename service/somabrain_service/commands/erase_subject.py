"""Forget everything about a subject for good."""

from __future__ import annotations

from dataclasses import dataclass

from somabrain_service.commands.services import Services
from somabrain_service.domain import limits
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.tokens import consistency_token


@dataclass(frozen=True, slots=True)
class SubjectErased:
    """How many memories were forgotten, and the token of a read that must no longer see them."""

    count: int
    consistency_token: str


async def erase_subject(
    services: Services, tenant: TenantId, parent: NamespaceName, subject: str, *, request_id: str = ""
) -> SubjectErased:
    """Forget every memory about a subject with its revisions, vectors and terms: all of them or, on failure, none.

    Raises:
        InvalidArgument: the subject is empty or too long.
        NotFound: no such namespace.
        AlreadyExists: `request_id` came with another body.
        StoreUnavailable: PostgreSQL is gone.
    """
    limits.check_text("subject", subject, limits.SUBJECT_BYTES, required=True)
    request = request_key(tenant, request_id, "EraseSubject", parent, subject)
    erased = await services.store.erase_subject(tenant, parent, subject, services.clock(), request)
    return SubjectErased(erased.count, consistency_token(parent, erased.as_of))
