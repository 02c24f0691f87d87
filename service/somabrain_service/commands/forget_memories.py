"""Permanently forget the memories that match a filter."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import InvalidArgument
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain import limits
from somabrain_service.domain.cursors import consistency_token
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.names import NamespaceName, TenantId


@dataclass(frozen=True, slots=True)
class ForgetMemoriesResult:
    """Numbers of memories forgotten, and matching before, and the token for reads that must not see the forgotten."""

    forgotten: int
    matching: int
    consistency_token: str


async def forget_memories(
    context: AppContext,
    tenant: TenantId,
    parent: NamespaceName,
    memory_filter: MemoryFilter,
    *,
    max_count: int = 0,
    dry_run: bool = False,
    request_id: str = "",
) -> ForgetMemoriesResult:
    """Forget at most `max_count` memories that match (0: the maximum), oldest first: all of them or, on failure, none.

    `dry_run`: only count them.

    Raises:
        InvalidArgument: the filter is empty, or `max_count` is out of its bound.
        NotFound: no such namespace.
        AlreadyExists: `request_id` was used with another body.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    if memory_filter.empty:
        raise InvalidArgument("filter", "is required, and matches every memory; to forget all, delete the namespace")
    limit = limits.check_count("max_count", max_count, limits.MAX_FORGOTTEN, limits.MAX_FORGOTTEN)
    request = request_key(tenant, request_id, "ForgetMemories", parent, memory_filter, limit, dry_run)
    now = context.clock()
    if dry_run:
        result = await context.store.count_memories(tenant, parent, memory_filter, now)
    else:
        result = await context.store.forget_memories(tenant, parent, memory_filter, limit, now, request)
    return ForgetMemoriesResult(result.count, result.matching, consistency_token(parent, result.as_of))
