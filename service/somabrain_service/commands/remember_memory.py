"""Store one memory."""

from __future__ import annotations

from dataclasses import dataclass

from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.prepare_memory import prepare_memory
from somabrain_service.domain.cursors import consistency_token
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.memory import Memory, MemoryDraft, Vector
from somabrain_service.domain.names import NamespaceName, TenantId


@dataclass(frozen=True, slots=True)
class RememberResult:
    """The stored memory, and the consistency token for reads that must see it."""

    memory: Memory
    consistency_token: str


async def remember_memory(
    context: AppContext,
    tenant: TenantId,
    parent: NamespaceName,
    draft: MemoryDraft,
    *,
    vector: Vector | None = None,
    request_id: str = "",
) -> RememberResult:
    """Store a memory: when this returns it is durable and the next Recall finds it.

    `vector` is the caller's own; None: the namespace's encoder computes one, and if that fails the memory is stored
    without and found by its words. `request_id` makes the write idempotent for 24 hours; empty: it is not.

    Raises:
        InvalidArgument: a field is out of its bound.
        NotFound: no such namespace, or the memory of `request_id` has since been forgotten.
        AlreadyExists: `request_id` was used with another body, or the session position is taken.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    request = request_key(tenant, request_id, "Remember", parent, draft, vector)
    namespace = await context.store.namespace(tenant, parent)
    new = await prepare_memory(context, namespace, draft, vector, context.clock())
    written = await context.store.insert_memory(tenant, namespace, new, request)
    return RememberResult(written.memory, consistency_token(parent, written.as_of))
