"""Values derived from a draft before it is stored: expiry, terms and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import structlog
from numpy.typing import NDArray

from common.errors import InvalidArgument
from somabrain_service.commands.shared.caller_vectors import validate_caller_vector
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain import analyzer
from somabrain_service.domain.memory import NEUTRAL_SALIENCE, MemoryDraft, Vector
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.token_vectors import NO_TOKEN_VECTORS
from somabrain_service.encoders.protocols import LEXICAL, EncoderUnavailable
from somabrain_service.store.records import NewMemory, TokenRecord, token_record

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of a text; None: it has none."""

    vector: NDArray[np.float32] | None = None
    tokens: TokenRecord | None = None


def new_memory(namespace: Namespace, draft: MemoryDraft, now: datetime, vectors: Vectors) -> NewMemory:
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
        vector=vectors.vector,
        tokens=vectors.tokens,
        encoder_id=namespace.settings.encoder,
    )


async def prepare_memory(
    context: AppContext, namespace: Namespace, draft: MemoryDraft, vector: Vector | None, now: datetime
) -> NewMemory:
    """Return the memory to store with its vectors. `vector` None: the namespace's encoder computes it.

    Raises:
        InvalidArgument: its expiry is in the past, or `vector` does not fit the namespace.
    """
    encoder_id = namespace.settings.encoder
    given = None if vector is None else validate_caller_vector(context, encoder_id, vector)
    new = new_memory(namespace, draft, now, Vectors())
    if given is None:
        (vectors,) = await encode(context, encoder_id, [draft.indexed_text])
    else:
        vectors = with_caller_vector(context, encoder_id, draft.indexed_text, given)
    return new.with_vectors(vectors.vector, vectors.tokens)


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


def with_caller_vector(context: AppContext, encoder_id: str, text: str, vector: NDArray[np.float32]) -> Vectors:
    """Return the caller's vector of a text, beside which the namespace's encoder is not run: no word piece has one."""
    encoder = context.encoders.get(encoder_id)
    has_token_vectors = encoder is not None and encoder.has_token_vectors
    return Vectors(vector, token_record(text, NO_TOKEN_VECTORS if has_token_vectors else None))


async def encode(context: AppContext, encoder_id: str, texts: Sequence[str]) -> list[Vectors]:
    """Return the vectors of each text; none if the encoder fails or clients run it: it is found by words then."""
    if not texts or encoder_id == LEXICAL or encoder_id in context.client_encoders:
        return [Vectors()] * len(texts)
    try:
        encoded = await context.encoder(encoder_id).encode_texts(texts)
    except EncoderUnavailable:
        _log.warning("stored without a vector", encoder=encoder_id, texts=len(texts), exc_info=True)
        return [Vectors()] * len(texts)
    return [Vectors(each.vector, token_record(text, each.tokens)) for text, each in zip(texts, encoded, strict=True)]
