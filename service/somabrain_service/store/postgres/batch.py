"""Memories kept in one transaction: one statement for all rows, and the version is raised once.

What is wrong with one of them is found before anything is written. That is sound because the locks of all sessions
concerned are held, so nobody else takes a place; a request's twin that was first makes the transaction begin again.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from psycopg import IntegrityError

from common.errors import AlreadyExists, NotFound, SomaBrainError
from somabrain_service.domain.idempotency import another_body
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import TenantId, memory_id
from somabrain_service.domain.quota import Stock
from somabrain_service.domain.tokens import Moment
from somabrain_service.store.postgres import rows, writing
from somabrain_service.store.postgres.connection import Connection
from somabrain_service.store.postgres.faults import Retry, violated
from somabrain_service.store.postgres.keeping import Placed, Refused, keeping
from somabrain_service.store.postgres.looking import Item, Seen
from somabrain_service.store.postgres.sql import Statement
from somabrain_service.store.postgres.stocks import Room
from somabrain_service.store.values import NewMemory, WrittenMany


def stock_of(new: NewMemory) -> Stock:
    """What a memory adds to what its tenant holds."""
    return Stock(1, len(new.draft.text.encode()))


async def insert(
    connection: Connection, tenant: TenantId, seen: Seen, items: Sequence[Item], room: Room | None
) -> WrittenMany:
    """Keep what can be kept, in their order. `room` None: there is room for all of them."""
    results, twins = _known(seen, items)
    fresh = {index: item for index, item in enumerate(items) if index not in results and index not in twins}
    placed = []
    for index, place in _places(seen, fresh).items():
        new, request = fresh[index]
        if isinstance(place, AlreadyExists):
            results[index] = place
            continue
        if room and (refused := room.let_in(stock_of(new))):
            results[index] = refused
            continue
        memory = memory_id(new.create_time, secrets.randbits(32))
        placed.append(Placed(memory, place, new, request))
        results[index] = writing.kept(seen.namespace.name, memory, new, place)
    moment = seen.namespace.moment
    if placed:
        moment = await _write(connection, keeping(tenant, seen.namespace, placed))
    results |= {index: results[earlier] for index, earlier in twins.items()}
    return WrittenMany([results[index] for index in range(len(items))], moment)


def _known(seen: Seen, items: Sequence[Item]) -> tuple[dict[int, Memory | SomaBrainError], dict[int, int]]:
    """What is answered already, by index; and items that are an earlier one again, with its index."""
    results: dict[int, Memory | SomaBrainError] = {}
    twins: dict[int, int] = {}
    first: dict[bytes, int] = {}
    for index, (_, request) in enumerate(items):
        if request is None:
            continue
        row = seen.answered.get(request.key)
        if row is not None and row.body_hash is not None and row.body_hash != request.body_hash:
            results[index] = another_body()
        elif row is not None and row.id is None:
            name = f"{seen.namespace.name}/memories/{row.request_memory or 0:016x}"
            results[index] = NotFound("Memory", name, "It has been forgotten since.")
        elif row is not None:
            results[index] = rows.memory(seen.namespace.name, row)
        elif (earlier := first.setdefault(request.key, index)) != index:
            twin = items[earlier][1]
            if twin is not None and twin.body_hash == request.body_hash:
                twins[index] = earlier
            else:
                results[index] = another_body()
    return results, twins


def _places(seen: Seen, items: Mapping[int, Item]) -> dict[int, int | AlreadyExists | None]:
    """The place of each in its session, in their order; None: it has no session."""
    last, taken = dict(seen.last), set(seen.taken)
    places: dict[int, int | AlreadyExists | None] = {}
    for index, (new, _) in items.items():
        session, position = new.draft.session, new.draft.session_position
        if not session:
            places[index] = None
            continue
        place = last.get(session, -1) + 1 if position is None else position
        if (session, place) in taken:
            places[index] = writing.place_taken(place)
            continue
        places[index] = place
        taken.add((session, place))
        last[session] = max(last.get(session, -1), place)
    return places


async def _write(connection: Connection, statement: Statement) -> Moment:
    """Write everything, and commit.

    Raises:
        Retry: a request's twin was first, a number was taken, or the namespace is another by now.
    """
    try:
        row = (await connection.execute_last(*statement)).one()
    except Refused:
        raise Retry from None
    except IntegrityError as exc:
        if violated(exc) == "memories_pkey":
            raise Retry from None
        raise
    return Moment(row.epoch, row.version)
