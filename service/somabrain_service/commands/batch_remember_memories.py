"""Store many memories, each independently."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from common.errors import FailedPrecondition, SomaBrainError
from somabrain_service.commands.shared.caller_vectors import validate_caller_vector
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.item_errors import PER_ITEM_ERRORS
from somabrain_service.commands.shared.prepare_memory import Vectors, encode, new_memory, with_caller_vector
from somabrain_service.domain import limits
from somabrain_service.domain.cursors import consistency_token
from somabrain_service.domain.idempotency import RequestKey, request_key
from somabrain_service.domain.memory import Memory, MemoryDraft, Vector
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.encoders.protocols import EncoderUnavailable
from somabrain_service.store.records import NewMemory


@dataclass(frozen=True, slots=True)
class RememberItem:
    """One memory of a batch; fields as in `remember_memory`."""

    draft: MemoryDraft
    vector: Vector | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class BatchRememberResult:
    """Result per item in request order, and the consistency token for reads that must see them."""

    results: tuple[Memory | SomaBrainError, ...]
    consistency_token: str


async def batch_remember_memories(
    context: AppContext, tenant: TenantId, parent: NamespaceName, items: Sequence[RememberItem | SomaBrainError]
) -> BatchRememberResult:
    """Store all valid items in one transaction; a failed item's result is the error that `remember_memory` raises.

    Items that are errors already are returned at their index. Creation times increase by a microsecond per item.

    Raises:
        NotFound: no such namespace.
        Aborted: the namespace's settings were changed meanwhile.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    namespace = await context.store.namespace(tenant, parent)
    encoder_id = namespace.settings.encoder
    now = context.clock()
    results: dict[int, Memory | SomaBrainError] = {}
    accepted: dict[int, tuple[NewMemory, RequestKey | None]] = {}
    for index, item in enumerate(items):
        if isinstance(item, SomaBrainError):
            results[index] = item
            continue
        try:
            request = request_key(tenant, item.request_id, "Remember", parent, item.draft, item.vector)
            given = None if item.vector is None else validate_caller_vector(context, encoder_id, item.vector)
            text = item.draft.indexed_text
            vectors = Vectors() if given is None else with_caller_vector(context, encoder_id, text, given)
            accepted[index] = (
                new_memory(namespace, item.draft, now + timedelta(microseconds=index), vectors),
                request,
            )
        except (*PER_ITEM_ERRORS, EncoderUnavailable) as exc:
            results[index] = exc
        await asyncio.sleep(0)  # 3 MiB of text take a while to analyse: let other calls run
    to_encode = [index for index, (new, _) in accepted.items() if new.vector is None]
    encoded = await encode(context, encoder_id, [accepted[index][0].draft.indexed_text for index in to_encode])
    for index, vectors in zip(to_encode, encoded, strict=True):
        new, request = accepted[index]
        accepted[index] = new.with_vectors(vectors.vector, vectors.tokens), request
    written = await context.store.insert_memories(tenant, namespace, list(accepted.values()))
    results |= zip(accepted, written.results, strict=True)
    ordered = [results[index] for index in range(len(items))]
    return BatchRememberResult(tuple(_limit_size(ordered)), consistency_token(parent, written.as_of))


def _limit_size(results: Sequence[Memory | SomaBrainError]) -> Sequence[Memory | SomaBrainError]:
    """Return the results, bounded to one response: a replayed memory may have grown since by updates."""
    size_bytes = 0
    bounded: list[Memory | SomaBrainError] = []
    for result in results:
        size = result.size_bytes if isinstance(result, Memory) and result.revision > 1 else 0
        size_bytes += size
        if isinstance(result, Memory) and size and size_bytes > limits.MAX_RESPONSE_BYTES:
            bounded.append(
                FailedPrecondition(
                    f"{result.name} was stored before and has grown past the size of this response; read it by name."
                )
            )
        else:
            bounded.append(result)
    return bounded
