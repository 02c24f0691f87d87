"""Keep one memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from common.errors import InvalidArgument
from somabrain_service.commands.services import Services
from somabrain_service.commands.vectors import own_vector
from somabrain_service.domain import analysis
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.memory import NEUTRAL_SALIENCE, Memory, MemoryDraft, Vector
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.tokens import consistency_token
from somabrain_service.encoders.protocols import EncoderUnavailable
from somabrain_service.store.protocols import NewMemory

log = structlog.get_logger(__name__)


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

    `vector` is the caller's own; None: the namespace's encoder makes one, and where it fails the memory is kept without
    and found by its words. `request_id` makes the write idempotent for 24 hours; empty: it is not.

    Raises:
        InvalidArgument: a field is out of its bound.
        NotFound: no such namespace, or the memory of `request_id` has since been forgotten.
        AlreadyExists: `request_id` came with another body, or the session's position is taken.
        StoreUnavailable: PostgreSQL is gone.
    """
    request = request_key(tenant, request_id, "Remember", parent, draft, vector)
    namespace = await services.store.namespace(tenant, parent)
    now = services.clock()
    ttl = draft.ttl or (None if draft.expire_time or draft.pinned else namespace.settings.default_ttl)
    try:
        expire_time = now + ttl if ttl else draft.expire_time
    except OverflowError:
        raise InvalidArgument("memory.ttl", "ends after the year 9999; choose a shorter one or none") from None
    if expire_time is not None and expire_time <= now:
        raise InvalidArgument("memory.expire_time", "must be in the future; leave it unset to never expire")
    encoder_id = namespace.settings.encoder
    new = NewMemory(
        draft=draft,
        event_time=draft.event_time or now,
        create_time=now,
        expire_time=expire_time,
        salience=NEUTRAL_SALIENCE if draft.salience is None else draft.salience,
        terms=analysis.terms(draft.text),
        vector=await _vector(services, encoder_id, draft.text, vector),
        encoder_id=encoder_id,
    )
    written = await services.store.insert_memory(tenant, namespace, new, request)
    return Remembered(written.memory, consistency_token(parent, written.moment))


async def _vector(services: Services, encoder_id: str, text: str, own: Vector | None) -> NDArray[np.float32] | None:
    if own is not None:
        return own_vector(services, encoder_id, own)
    encoder = services.encoders.get(encoder_id)
    if encoder is None:
        return None
    try:
        encoded: NDArray[np.float32] = (await encoder.encode([text]))[0]
    except EncoderUnavailable:
        log.warning("kept without a vector", encoder=encoder_id, exc_info=True)
        return None
    return encoded
