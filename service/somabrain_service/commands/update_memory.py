"""Update a memory; its former state becomes a revision."""

from __future__ import annotations

from datetime import datetime

from common.errors import Aborted, InvalidArgument, NotFound
from somabrain_service.commands.remember_memory import RememberResult
from somabrain_service.commands.shared.caller_vectors import validate_caller_vector
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.prepare_memory import encode, expiry, with_caller_vector
from somabrain_service.domain import analyzer
from somabrain_service.domain.cursors import consistency_token
from somabrain_service.domain.etag import check_etag
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.memory import NEUTRAL_SALIENCE, Memory, Vector
from somabrain_service.domain.names import MemoryName, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.patch import MemoryPatch
from somabrain_service.store.records import MemoryUpdate, NewText

ATTEMPTS = 8


async def update_memory(
    context: AppContext,
    tenant: TenantId,
    name: MemoryName,
    patch: MemoryPatch,
    *,
    etag: str = "",
    vector: Vector | None = None,
    request_id: str = "",
) -> RememberResult:
    """Change the fields of the patch. A changed text is analysed again, and encoded again unless `vector` is given.

    Raises:
        InvalidArgument: a field is out of its bound, or conflicts with one that is unchanged.
        NotFound: no such memory, or it has expired.
        AlreadyExists: `request_id` was used with another body, or the session position is taken.
        Aborted: `etag` is not the current one, or concurrent updates won all attempts.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    request = request_key(tenant, request_id, "UpdateMemory", name, patch, etag, vector)
    if vector is not None and "text" not in patch.paths:
        raise InvalidArgument("vector", "requires a changed text; name text in update_mask or leave it unset")
    for _ in range(ATTEMPTS):
        now = context.clock()
        if written := await context.store.find_replay(tenant, name.namespace, request, now):
            break
        async with context.store.snapshot(tenant, name.namespace, now) as snapshot:
            namespace = snapshot.namespace
            memory = await snapshot.memory(name.memory)
        if memory is None:
            raise NotFound("Memory", str(name))
        check_etag(etag, memory.etag, "memory")
        update = await _build_update(context, namespace, memory, patch, vector, now)
        if written := await context.store.update_memory(tenant, namespace, update, request):
            break
    else:
        raise Aborted("The memory was changed by concurrent updates; try again.")
    return RememberResult(written.memory, consistency_token(name.namespace, written.as_of))


async def _build_update(
    context: AppContext, namespace: Namespace, memory: Memory, patch: MemoryPatch, vector: Vector | None, now: datetime
) -> MemoryUpdate:
    draft = patch.apply(memory)
    new_text = None
    if draft.text != memory.text or vector is not None:
        encoder_id = namespace.settings.encoder
        caller_vector = None if vector is None else validate_caller_vector(context, encoder_id, vector)
        terms = analyzer.get_analyzer(namespace.analyzer).terms(draft.text)
        if caller_vector is None:
            (vectors,) = await encode(context, encoder_id, [draft.text])
        else:
            vectors = with_caller_vector(context, encoder_id, draft.text, caller_vector)
        new_text = NewText(terms, vectors.vector, encoder_id, vectors.tokens)
    return MemoryUpdate(
        before=memory,
        draft=draft,
        event_time=draft.event_time or now,
        update_time=now,
        expire_time=expiry(draft, draft.ttl, now),
        salience=NEUTRAL_SALIENCE if draft.salience is None else draft.salience,
        new_text=new_text,
    )
