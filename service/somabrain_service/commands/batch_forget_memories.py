"""Forget many memories, each independently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import InvalidArgument, SomaBrainError
from somabrain_service.commands.forget_memory import forget_memory
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.item_errors import PER_ITEM_ERRORS
from somabrain_service.domain.cursors import consistency_token
from somabrain_service.domain.names import MemoryRef, NamespaceName, TenantId


@dataclass(frozen=True, slots=True)
class ForgetItem:
    """One memory of a batch; fields as in `forget_memory`."""

    name: MemoryRef
    etag: str = ""
    request_id: str = ""
    allow_missing: bool = False


@dataclass(frozen=True, slots=True)
class BatchForgetResult:
    """Result per item in request order (None: forgotten), and the consistency token for reads that must see it."""

    results: tuple[SomaBrainError | None, ...]
    consistency_token: str


async def batch_forget_memories(
    context: AppContext, tenant: TenantId, parent: NamespaceName, items: Sequence[ForgetItem | SomaBrainError]
) -> BatchForgetResult:
    """Forget each memory in its own transaction; a failed item's result is the error that `forget_memory` raises.

    Items that are errors already are returned at their index.

    Raises:
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is unavailable; items forgotten before that remain forgotten.
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
