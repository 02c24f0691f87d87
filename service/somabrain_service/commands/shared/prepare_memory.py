"""Values derived from a draft before it is stored: expiry, terms and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import structlog
from numpy.typing import NDArray

from common.errors import InvalidArgument
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain import analyzer
from somabrain_service.domain.memory import NEUTRAL_SALIENCE, MemoryDraft
from somabrain_service.domain.namespace import Namespace
from somabrain_service.encoders.protocols import LEXICAL, EncoderUnavailable
from somabrain_service.store.records import NewMemory

log = structlog.get_logger(__name__)


def new_memory(
    namespace: Namespace, draft: MemoryDraft, now: datetime, vector: NDArray[np.float32] | None
) -> NewMemory:
    """Return the memory to store, with the namespace's defaults applied.

    Raises:
        InvalidArgument: its expiry is in the past.
    """
    default = None if draft.expire_time or draft.pinned else namespace.settings.default_ttl
    return NewMemory(
        draft=draft,
        event_time=draft.event_time or now,
        create_time=now,
        expire_time=expiry(draft, draft.ttl or default, now),
        salience=NEUTRAL_SALIENCE if draft.salience is None else draft.salience,
        terms=analyzer.get_analyzer(namespace.analyzer).terms(draft.indexed_text),
        vector=vector,
        encoder_id=namespace.settings.encoder,
    )


def expiry(draft: MemoryDraft, ttl: timedelta | None, now: datetime) -> datetime | None:
    """Return the time at which a memory stops being visible; None: never.

    Raises:
        InvalidArgument: it is not in the future, or past the year 9999.
    """
    try:
        expire_time = now + ttl if ttl else draft.expire_time
    except OverflowError:
        raise InvalidArgument(
            "memory.ttl", "ends after the year 9999; choose a shorter one or leave it unset"
        ) from None
    if expire_time is not None and expire_time <= now:
        raise InvalidArgument("memory.expire_time", "must be in the future; leave it unset to never expire")
    return expire_time


async def encode(context: AppContext, encoder_id: str, texts: Sequence[str]) -> list[NDArray[np.float32] | None]:
    """Return a vector per text; all None if the encoder fails or clients run it: the memories are found by words."""
    if not texts or encoder_id == LEXICAL or encoder_id in context.client_encoders:
        return [None] * len(texts)
    try:
        return list(await context.encoder(encoder_id).encode(texts))
    except EncoderUnavailable:
        log.warning("stored without a vector", encoder=encoder_id, texts=len(texts), exc_info=True)
        return [None] * len(texts)
