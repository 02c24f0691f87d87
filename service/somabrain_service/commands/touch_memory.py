"""Renew the life of a memory, and change nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from common.errors import InvalidArgument, NotFound
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryRef, TenantId
from somabrain_service.domain.namespace import Namespace


async def touch_memory(context: AppContext, tenant: TenantId, ref: MemoryRef, ttl: timedelta | None) -> Memory:
    """Let a memory expire `ttl` from now, unless it expires later or never; return it.

    Raises:
        InvalidArgument: `ttl` is missing, not more than 0, or too long.
        NotFound: no such memory, or it has expired; or no such namespace.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    now = context.clock()
    if ttl is None:
        raise InvalidArgument("ttl", "is required: how long from now the memory is to live")
    memory = await context.store.touch_memory(tenant, ref, renewed_expiry(ttl, "ttl", now), now)
    if memory is None:
        raise NotFound("Memory", str(ref))
    return memory


async def refresh(
    context: AppContext,
    tenant: TenantId,
    namespace: Namespace,
    memories: Sequence[Memory],
    expire_time: datetime | None,
    now: datetime,
) -> list[Memory]:
    """Let memories that were read live until `expire_time` (None: as before); return them as they are then."""
    if expire_time is None:
        return list(memories)
    ending = [memory for memory in memories if memory.expire_time is not None and memory.expire_time < expire_time]
    if not ending:
        return list(memories)
    ids = sorted(memory.name.memory for memory in ending)
    renewed = await context.store.touch_memories(tenant, namespace, ids, expire_time, now)
    return [
        replace(memory, expire_time=expire_time) if memory.name.memory in renewed else memory for memory in memories
    ]


def renewed_expiry(ttl: timedelta, field: str, now: datetime) -> datetime:
    """Return the time at which a memory expires that is renewed now.

    Raises:
        InvalidArgument: `ttl` is not more than 0, or ends after the year 9999.
    """
    if ttl <= timedelta(0):
        raise InvalidArgument(field, "must be more than 0; to forget a memory use ForgetMemory")
    try:
        return now + ttl
    except OverflowError:
        raise InvalidArgument(field, "ends after the year 9999; choose a shorter one") from None
