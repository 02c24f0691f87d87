"""Update a memory; its former state becomes a revision."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from common.errors import Aborted, AlreadyExists, InvalidArgument, NotFound
from somabrain_service.commands.remember_memory import RememberResult
from somabrain_service.commands.shared.caller_vectors import validate_caller_vector
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.prepare_memory import encode, expiry, prepare_memory, with_caller_vector
from somabrain_service.domain import analyzer
from somabrain_service.domain.cursors import consistency_token
from somabrain_service.domain.etag import ABSENT, check_etag
from somabrain_service.domain.idempotency import RequestKey, request_key
from somabrain_service.domain.memory import NEUTRAL_SALIENCE, Memory, MemoryDraft, Vector, key_conflict
from somabrain_service.domain.names import MemoryRef, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.patch import MemoryPatch
from somabrain_service.store.records import MemoryUpdate, NewText, WriteResult

ATTEMPTS = 8


async def update_memory(
    context: AppContext,
    tenant: TenantId,
    ref: MemoryRef,
    patch: MemoryPatch,
    *,
    etag: str = "",
    vector: Vector | None = None,
    request_id: str = "",
    create: Callable[[], MemoryDraft] | None = None,
) -> RememberResult:
    """Change the fields of the patch. A changed text is analysed again, and encoded again unless `vector` is given.

    `create` returns the memory to store if no live memory has the key of `ref`; None: a missing memory is an error.
    The etag `absent` then means that it is only stored, and never changed.

    Raises:
        InvalidArgument: a field is out of its bound, or conflicts with one that is unchanged.
        NotFound: no such memory, or it has expired.
        AlreadyExists: `request_id` was used with another body, the session position or the new key is taken, or a
            memory has the key though it was to be absent.
        Aborted: `etag` is not the current one, or concurrent updates won all attempts.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    upsert = [] if create is None else ["allow_missing"]
    request = request_key(tenant, request_id, "UpdateMemory", ref, patch, etag, vector, *upsert)
    if vector is not None and not {"text", "index_text"} & set(patch.paths):
        raise InvalidArgument("vector", "requires a changed text; name text or index_text in update_mask")
    if etag == ABSENT and create is None:
        raise InvalidArgument("memory.etag", f"is `{ABSENT}`, which requires allow_missing; set it, or send no etag")
    # Writers of one memory in this process wait in line: each would otherwise undo the work of all others.
    async with context.update_lock.acquire((tenant, ref)):
        for _ in range(ATTEMPTS):
            now = context.clock()
            if written := await context.store.find_replay(tenant, ref.namespace, request, now):
                break
            async with context.store.snapshot(tenant, ref.namespace, now) as snapshot:
                namespace = snapshot.namespace
                memory = await snapshot.memory(ref)
            if memory is None:
                if create is None:
                    raise NotFound("Memory", str(ref))
                if etag not in ("", ABSENT):
                    raise Aborted("etag: no live memory has this key any more; retry without etag to create it.")
                written = await _create(context, tenant, namespace, create(), vector, now, request)
            elif etag == ABSENT:
                raise key_conflict(memory.name)
            else:
                check_etag(etag, memory.etag, "memory")
                update = await _build_update(
                    context, namespace, memory, patch, vector, now, with_defaults=create is not None
                )
                written = await context.store.update_memory(tenant, namespace, update, request)
            if written:
                break
        else:
            raise Aborted("The memory was changed by concurrent updates; try again.")
    return RememberResult(written.memory, consistency_token(ref.namespace, written.as_of))


async def _create(
    context: AppContext,
    tenant: TenantId,
    namespace: Namespace,
    draft: MemoryDraft,
    vector: Vector | None,
    now: datetime,
    request: RequestKey | None,
) -> WriteResult | None:
    """Store a memory; None: another one has its key by now."""
    new = await prepare_memory(context, namespace, draft, vector, now)
    try:
        return await context.store.insert_memory(tenant, namespace, new, request)
    except AlreadyExists as exc:
        if not exc.holder:
            raise
        return None


async def _build_update(
    context: AppContext,
    namespace: Namespace,
    memory: Memory,
    patch: MemoryPatch,
    vector: Vector | None,
    now: datetime,
    *,
    with_defaults: bool,
) -> MemoryUpdate:
    """Return the update. `with_defaults`: a cleared expiry is the namespace's default, as in Remember."""
    draft = patch.apply(memory)
    ttl = draft.ttl
    if with_defaults and "ttl" in patch.paths and draft.expire_time is None and not draft.pinned:
        ttl = ttl or namespace.settings.default_ttl
    new_text = None
    if draft.indexed_text != memory.indexed_text or vector is not None:
        encoder_id = namespace.settings.encoder
        caller_vector = None if vector is None else validate_caller_vector(context, encoder_id, vector)
        terms = analyzer.get_analyzer(namespace.analyzer).terms(draft.indexed_text)
        if caller_vector is None:
            (vectors,) = await encode(context, encoder_id, [draft.indexed_text])
        else:
            vectors = with_caller_vector(context, encoder_id, draft.indexed_text, caller_vector)
        new_text = NewText(terms, vectors.vector, encoder_id, vectors.tokens)
    return MemoryUpdate(
        before=memory,
        draft=draft,
        event_time=draft.event_time or now,
        update_time=now,
        expire_time=expiry(draft, ttl, now),
        salience=NEUTRAL_SALIENCE if draft.salience is None else draft.salience,
        new_text=new_text,
    )
