"""Find the memories that answer a question best."""

from __future__ import annotations

from somabrain_service.commands.services import Services
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.recall import RecallAnswer, RecallQuery


async def recall_memories(services: Services, tenant: TenantId, query: RecallQuery) -> RecallAnswer:
    """Answer a question, exactly; say so when the answer is less than it could be.

    Raises:
        InvalidArgument: the vector or the token does not fit the namespace.
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is gone.
    """
    raise NotImplementedError
