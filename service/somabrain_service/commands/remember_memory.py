"""Keep one memory."""

from __future__ import annotations

from dataclasses import dataclass

from somabrain_service.commands.services import Services
from somabrain_service.domain.memory import Memory, MemoryDraft, Vector
from somabrain_service.domain.names import NamespaceName, TenantId


@dataclass(frozen=True, slots=True)
class Remembered:
    """The memory as it is kept, and the token of a read that must see it."""

    memory: Memory
    consistency_token: str


async def remember_memory(
    services: Services,
    tenant: TenantId,
    parent: NamespaceName,
    draft: MemoryDraft,
    *,
    vector: Vector | None = None,
    request_id: str = "",
) -> Remembered:
    """Keep a memory: when this returns it is durable and the next Recall finds it.

    Args:
        vector: the caller's own; None: the namespace's encoder makes one.
        request_id: makes the write idempotent for 24 hours; empty: it is not.

    Raises:
        InvalidArgument: a field is out of its bound.
        NotFound: no such namespace, or the memory of `request_id` has since been forgotten.
        AlreadyExists: `request_id` came with another body, or the session's position is taken.
        StoreUnavailable: PostgreSQL is gone.
    """
    raise NotImplementedError
