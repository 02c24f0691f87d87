"""Forget many memories, each on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import InvalidArgument, SomaBrainError
from somabrain_service.commands.context import AppContext
from somabrain_service.commands.forget_memory import forget_memory
from somabrain_service.commands.item_errors import PER_ITEM_ERRORS
from somabrain_service.domain.cursors import consistency_token
from somabrain_service.domain.names import MemoryName, NamespaceName, TenantId


@dataclass(frozen=True, slots=True)
class ForgetItem:
    """One memory of a batch, as in `forget_memory`."""

    name: MemoryName
    etag: str = ""
    request_id: str = ""
    allow_missing: bool = False


@dataclass(frozen=True, slots=True)
class BatchForgetResult:
    """What became of each item, in their order (None: it is forgotten), and the token of a read that must see it."""

    results: tuple[SomaBrainError | None, ...]
    consistency_token: str


async def batch_forget_memories(
    context: AppContext, tenant: TenantId, parent: NamespaceName, items: Sequence[ForgetItem | SomaBrainError]
) -> BatchForgetResult:
    """Forget each, in a transaction of its own; an item that cannot be has its error, as `forget_memory` raises it.

    Items that are errors already keep their place.

    Raises:
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is gone; what was forgotten before that stays forgotten.
    """
    results: list[SomaBrainError | None] = []
    for item in items:
        if isinstance(item, SomaBrainError):
            results.append(item)
            continue
        try:
            if item.name.namespace != parent:
                raise InvalidArgument("name", f"is not in {parent}; send one batch for each namespace")
            await forget_memory(
                context,
                tenant,
                item.name,
                etag=item.etag,
                request_id=item.request_id,
                allow_missing=item.allow_missing,
            )
        except PER_ITEM_ERRORS as exc:
            results.append(exc)
        else:
            results.append(None)
    async with context.store.snapshot(tenant, parent, context.clock()) as snapshot:
        namespace = snapshot.namespace
    return BatchForgetResult(tuple(results), consistency_token(parent, namespace.read_version))
