"""Insertion of memories in one transaction: a statement for all rows of a table, and one increment of the version.

Errors of single memories are detected before anything is written. That is sound because the transaction has the locks
of all their sessions, so no other one can take a position; a concurrent duplicate of a request that committed first
makes the transaction start again.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from psycopg import DataError, IntegrityError

from common.errors import AlreadyExists, NotFound, SomaBrainError
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.idempotency import request_id_reused
from somabrain_service.domain.memory import Memory, key_conflict, position_conflict
from somabrain_service.domain.names import MemoryId, MemoryName, NamespaceName, memory_id
from somabrain_service.domain.quota import StorageUsage
from somabrain_service.store.postgres.driver.errors import Retry, violated_constraint
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import Statement
from somabrain_service.store.postgres.queries import rows
from somabrain_service.store.postgres.queries.insert import NewRow, insert_statements, lost_race
from somabrain_service.store.postgres.queries.precheck import Item, Preconditions
from somabrain_service.store.postgres.storage_quota import Headroom
from somabrain_service.store.records import BatchWriteResult, NewMemory


def usage_of(new: NewMemory) -> StorageUsage:
    """Return what a memory adds to its tenant's storage usage."""
    return StorageUsage(1, new.draft.stored_bytes, new.tokens.size_bytes if new.tokens else 0)


async def insert(
    connection: Connection,
    preconditions: Preconditions,
    items: Sequence[Item],
    headroom: Headroom | None,
) -> BatchWriteResult:
    """Insert the items that are valid, in their order. `headroom` None: the quota suffices for all of them."""
    results, duplicates = _find_replays(preconditions, items)
    new_items = {index: item for index, item in enumerate(items) if index not in results and index not in duplicates}
    new_rows = []
    name = preconditions.namespace.name
    key_holders = dict(preconditions.key_holders)
    for index, position in _assign_positions(preconditions, new_items).items():
        new, request = new_items[index]
        if isinstance(position, AlreadyExists):
            results[index] = position
            continue
        if holder := key_holders.get(new.draft.key):
            results[index] = key_conflict(MemoryName(name, holder))
            continue
        if headroom and (exhausted := headroom.reserve(usage_of(new))):
            results[index] = exhausted
            continue
        memory = memory_id(new.create_time, secrets.randbits(32))
        new_rows.append(NewRow(memory, position, new, request))
        if new.draft.key:
            key_holders[new.draft.key] = memory
        results[index] = _inserted_memory(name, memory, new, position)
    as_of = preconditions.namespace.read_version
    if new_rows:
        as_of = await _write(connection, insert_statements(preconditions.namespace, new_rows))
    results |= {index: results[earlier] for index, earlier in duplicates.items()}
    return BatchWriteResult([results[index] for index in range(len(items))], as_of)


def _find_replays(
    preconditions: Preconditions, items: Sequence[Item]
) -> tuple[dict[int, Memory | SomaBrainError], dict[int, int]]:
    """Return the results of stored requests by index, and the index of the earlier item for each duplicate of one."""
    results: dict[int, Memory | SomaBrainError] = {}
    duplicates: dict[int, int] = {}
    first: dict[bytes, int] = {}
    for index, (_, request) in enumerate(items):
        if request is None:
            continue
        row = preconditions.stored_requests.get(request.key)
        if row is not None and row.body_hash is not None and row.body_hash != request.body_hash:
            results[index] = request_id_reused()
        elif row is not None and row.id is None:
            name = f"{preconditions.namespace.name}/memories/{row.request_memory or 0:016x}"
            results[index] = NotFound("Memory", name, "It has since been forgotten.")
        elif row is not None:
            results[index] = rows.memory(preconditions.namespace.name, row)
        elif (earlier := first.setdefault(request.key, index)) != index:
            earlier_request = items[earlier][1]
            if earlier_request is not None and earlier_request.body_hash == request.body_hash:
                duplicates[index] = earlier
            else:
                results[index] = request_id_reused()
    return results, duplicates


def _assign_positions(preconditions: Preconditions, items: Mapping[int, Item]) -> dict[int, int | AlreadyExists | None]:
    """Return the position of each item in its session, in item order; None: the item has no session."""
    last_positions, occupied = dict(preconditions.last_positions), set(preconditions.occupied_positions)
    positions: dict[int, int | AlreadyExists | None] = {}
    for index, (new, _) in items.items():
        session, position = new.draft.session, new.draft.session_position
        if not session:
            positions[index] = None
            continue
        assigned = last_positions.get(session, -1) + 1 if position is None else position
        if (session, assigned) in occupied:
            positions[index] = position_conflict(assigned)
            continue
        positions[index] = assigned
        occupied.add((session, assigned))
        last_positions[session] = max(last_positions.get(session, -1), assigned)
    return positions


def _inserted_memory(name: NamespaceName, memory: MemoryId, new: NewMemory, position: int | None) -> Memory:
    """Return the memory that was inserted from `new`."""
    draft = new.draft
    return Memory(
        name=MemoryName(name, memory),
        text=draft.text,
        kind=draft.kind,
        session=draft.session,
        session_position=position,
        subject=draft.subject,
        labels=dict(draft.labels),
        event_time=new.event_time,
        create_time=new.create_time,
        update_time=new.create_time,
        salience=new.salience,
        expire_time=new.expire_time,
        pinned=draft.pinned,
        revision=1,
        key=draft.key,
        index_text=draft.index_text,
    )


async def _write(connection: Connection, statements: Sequence[Statement]) -> NamespaceVersion:
    """Execute the statements of an insert and commit.

    Raises:
        Retry: a duplicate of a request committed first, a key or a memory id was taken, or the namespace has changed.
    """
    try:
        results = await connection.execute_and_commit(*statements)
    except (IntegrityError, DataError) as exc:
        if lost_race(exc) or violated_constraint(exc) in ("memories_pkey", "memories_key"):
            raise Retry from None
        raise
    (row,) = (row for result in results for row in result)
    return NamespaceVersion(row.epoch, row.version)
