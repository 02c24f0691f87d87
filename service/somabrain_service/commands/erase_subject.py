"""Permanently forget everything about a subject."""

from __future__ import annotations

from dataclasses import dataclass

from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain import limits
from somabrain_service.domain.cursors import consistency_token
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.names import NamespaceName, TenantId


@dataclass(frozen=True, slots=True)
class EraseSubjectResult:
    """Number of forgotten memories, and the consistency token for reads that must not see them."""

    count: int
    consistency_token: str


async def erase_subject(
    context: AppContext, tenant: TenantId, parent: NamespaceName, subject: str, *, request_id: str = ""
) -> EraseSubjectResult:
    """Forget every memory about a subject with its revisions, vectors and terms: all of them or, on failure, none.

    Raises:
        InvalidArgument: the subject is empty or too long.
        NotFound: no such namespace.
        AlreadyExists: `request_id` was used with another body.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    limits.check_text("subject", subject, limits.MAX_SUBJECT_BYTES, required=True)
    request = request_key(tenant, request_id, "EraseSubject", parent, subject)
    erased = await context.store.erase_subject(tenant, parent, subject, context.clock(), request)
    return EraseSubjectResult(erased.count, consistency_token(parent, erased.as_of))
