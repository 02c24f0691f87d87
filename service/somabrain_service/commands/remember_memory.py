"""Store one memory."""

from __future__ import annotations

from dataclasses import dataclass

from somabrain_service.commands.shared.caller_vectors import validate_caller_vector
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.prepare_memory import encode, new_memory
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
    encoder_id = namespace.settings.encoder
    now = context.clock()
    caller_vector = None if vector is None else validate_caller_vector(context, encoder_id, vector)
    new = new_memory(namespace, draft, now, caller_vector)
    if caller_vector is None:
        (encoded,) = await encode(context, encoder_id, [draft.indexed_text])
        new = new.with_vector(encoded)
    written = await context.store.insert_memory(tenant, namespace, new, request)
    return RememberResult(written.memory, consistency_token(parent, written.as_of))
