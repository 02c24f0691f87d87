"""Snapshot of a namespace over PostgreSQL."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from common.errors import InvalidArgument
from somabrain_service.domain.changes import LAST_ORDINAL, Change, ChangeType, Position, StoredVector
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import MAX_RENEWAL, Memory
from somabrain_service.domain.names import MemoryId, MemoryName, MemoryRef
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.pagination import GroupField, MemoryGroup, Order, OrderField
from somabrain_service.domain.ranking.late_interaction import Shortlist
from somabrain_service.domain.ranking.score import Candidates, Ranking
from somabrain_service.domain.token_vectors import QueryTokens
from somabrain_service.store.index_source import IndexRows
from somabrain_service.store.postgres.driver.arrays import numbers
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import Statement, sql
from somabrain_service.store.postgres.queries import candidates, filters, index_rows, memories, rows, token_vectors
from somabrain_service.store.records import Search, Statistics, TokenRow

# Expired memories that are not deleted yet are counted in `usage` and `terms`, and subtracted here.
_STATISTICS = sql("""
WITH expired AS MATERIALIZED (
    SELECT m.id, m.length FROM memories m WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.expire_time <= :now
)
SELECT u.memories - (SELECT count(*) FROM expired) AS memories,
    u.tokens - (SELECT coalesce(sum(length), 0) FROM expired) AS tokens,
    u.vectors - (
        SELECT count(*) FROM expired JOIN memory_vectors v
        ON v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = expired.id) AS vectors,
    ARRAY(
        SELECT coalesce(t.df, 0) - (
            SELECT count(*) FROM expired JOIN memory_terms x
            ON x.tenant_id = :tenant AND x.namespace_id = :ns AND x.term = q.term AND x.memory = expired.id)
        FROM unnest(CAST(:terms AS text[])) WITH ORDINALITY AS q (term, ordinal)
        LEFT JOIN LATERAL (
            SELECT w.df FROM terms w
            WHERE w.tenant_id = :tenant AND w.namespace_id = :ns AND w.term = q.term OFFSET 0
        ) AS t ON true
        ORDER BY q.ordinal
    ) AS df
FROM usage u WHERE u.tenant_id = :tenant AND u.namespace_id = :ns
""")

# One more than the limit is read, which shows whether more follow.
_REVISIONS = sql(f"""
SELECT {rows.MEMORY}, m.available FROM (
    SELECT m.*, m.memory AS id, count(*) OVER () AS available, row_number() OVER newest AS ordinal,
        sum({rows.SIZE}) OVER newest AS size_bytes
    FROM (
        SELECT * FROM memory_revisions r WHERE r.tenant_id = :tenant AND r.namespace_id = :ns AND r.memory = :id
        AND r.revision < coalesce(CAST(:before AS bigint), 9223372036854775807)
        ORDER BY r.revision DESC LIMIT :limit + 1
    ) AS m
    WINDOW newest AS (ORDER BY m.revision DESC)
) AS m
WHERE m.ordinal <= :limit AND (m.ordinal = 1 OR m.size_bytes <= :size_bytes)
ORDER BY m.ordinal
""")


_NEXT_EXPIRY = sql(
    "SELECT min(m.expire_time) FROM memories m"
    " WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.expire_time > :renewable_from"
)

_CHANGES = sql("""
SELECT c.version, c.ordinal, c.type, c.memory, c.revision, c.change_time FROM changes c
WHERE c.tenant_id = :tenant AND c.namespace_id = :ns AND (c.version, c.ordinal) >= (:version, :ordinal)
ORDER BY c.version, c.ordinal LIMIT :limit
""")

_LIVE = sql(f"""
SELECT {rows.MEMORY} FROM memories m
WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = ANY(CAST(:ids AS bigint[])) AND {filters.LIVE}
""")

_VECTORS = sql("""
SELECT v.memory, v.encoder_id, CAST(v.embedding AS real[]) AS embedding FROM memory_vectors v
WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = ANY(CAST(:ids AS bigint[]))
""")

_UNCHANGED = f""" AND NOT EXISTS (
    SELECT FROM changes c WHERE c.tenant_id = :tenant AND c.namespace_id = :ns AND c.version > :unchanged_since
    AND c.memory = m.id AND c.type <> {int(ChangeType.REINDEXED)})"""

_KEYS = {
    OrderField.CREATE_TIME: ("m.id", "bigint"),  # ids increase with it
    OrderField.EVENT_TIME: ("m.event_time", "timestamptz"),
    # Memories without a session come last.
    OrderField.SESSION_POSITION: ("coalesce(m.position, 9223372036854775807)", "bigint"),
    OrderField.KEY: ("m.key", "text"),
}


class PostgresSnapshot:
    """`Snapshot` and `IndexSource` on one read-only transaction of PostgreSQL."""

    def __init__(self, connection: Connection, namespace: Namespace, now: datetime) -> None:
        self.namespace = namespace
        self._connection = connection
        self._name = namespace.name
        self._now = now
        self._values: dict[str, object] = {"ns": namespace.number, "now": now}
        self._vector_count: int | None = None

    async def statistics(self, terms: Sequence[str] = ()) -> Statistics:
        """Return the namespace's counts; to be called before `candidates`."""
        row = (await self._connection.execute(_STATISTICS, {**self._values, "terms": list(terms)})).one()
        self._vector_count = row.vectors
        return Statistics(self.namespace, row.memories, int(row.tokens), row.vectors, tuple(row.df))

    async def next_expiry(self) -> datetime | None:
        """Return the earliest expiry of a memory that is live, or may prove renewed; None: no memory expires."""
        values = {"ns": self.namespace.number, "renewable_from": self._now - MAX_RENEWAL}
        expiry: datetime | None = (await self._connection.execute(_NEXT_EXPIRY, values)).scalar_one()
        return expiry

    async def changes(self, after: Position, limit: int) -> list[Change] | None:
        """Return at most `limit` changes after `after` in commit order; None: some of them were trimmed."""
        # Includes the change at `after` itself, unless that is a whole version, to detect if it was trimmed.
        values = {**self._values, "version": after.version, "ordinal": after.ordinal, "limit": limit + 1}
        changes = [
            Change(
                Position(row.version, row.ordinal),
                ChangeType(row.type),
                MemoryName(self._name, MemoryId(row.memory)),
                row.revision,
                row.change_time,
            )
            for row in await self._connection.execute(_CHANGES, values)
        ]
        if after.ordinal == LAST_ORDINAL:
            return changes[:limit] if not changes or changes[0].position == Position(after.version + 1, 0) else None
        return changes[1:] if changes and changes[0].position == after else None

    async def get_many(self, ids: Sequence[MemoryId]) -> dict[MemoryId, Memory]:
        """Return those of the memories that exist, by id, without a bound on their size."""
        result = await self._connection.execute(_LIVE, {**self._values, "ids": numbers(ids)})
        memories = (rows.memory(self._name, row) for row in result)
        return {memory.name.memory: memory for memory in memories}

    async def vectors(self, ids: Sequence[MemoryId]) -> dict[MemoryId, StoredVector]:
        """Return the vectors of those of the memories that have one."""
        result = await self._connection.execute(_VECTORS, {**self._values, "ids": numbers(ids)})
        return {
            MemoryId(row.memory): StoredVector(np.array(row.embedding, np.float32), row.encoder_id) for row in result
        }

    async def candidates(self, search: Search) -> Candidates:
        """Return the top by words, the top by vector, their session neighbours, and the neighbours of these."""
        if self._vector_count is None:
            await self.statistics()
        return await candidates.find(self._connection, self._values, search, self._vector_count or 0)

    async def indexed_ranking(self, search: Search) -> Ranking | None:
        """Return None: PostgreSQL has candidates, no ranking."""
        return None

    async def shortlist(self, ids: Sequence[int], query: QueryTokens) -> Shortlist:
        """Return the memories of a first ranking, with the similarity of the words of their texts to the query's."""
        return await token_vectors.shortlist(self._connection, self.namespace.number, ids, query)

    async def token_rows(self, ids: Sequence[int]) -> list[TokenRow]:
        """Return the token vectors of those of the memories that have them."""
        return await token_vectors.rows(self._connection, self.namespace.number, ids)

    async def memories(self, ids: Sequence[int], size_bytes: int, *, end_snapshot: bool = False) -> list[Memory]:
        """Return memories in the order of `ids`; stops, after at least one, before `size_bytes` would be exceeded."""
        execute = self._connection.execute_and_commit if end_snapshot else self._connection.execute_all
        (result,) = await execute(memories.by_ids_statement(self.namespace.number, ids, size_bytes))
        return [rows.memory(self._name, row) for row in result]

    async def memory(self, ref: MemoryRef) -> Memory | None:
        """Return a memory; None: no such memory."""
        statement = memories.find_live(ref, self.namespace.number, self._now)
        row = (await self._connection.execute(*statement)).one_or_none()
        return None if row is None else rows.memory(self._name, row)

    async def revisions(
        self, memory: MemoryId, before: int | None, limit: int, size_bytes: int
    ) -> tuple[list[Memory], bool]:
        """Return former revisions, newest first, before revision `before` (None: all); bounded as `memories` is."""
        parameters = {
            "ns": self.namespace.number,
            "id": memory,
            "before": before,
            "limit": limit,
            "size_bytes": size_bytes,
        }
        revision_rows = (await self._connection.execute(_REVISIONS, parameters)).all()
        return [rows.memory(self._name, row) for row in revision_rows], bool(revision_rows) and len(
            revision_rows
        ) < revision_rows[0].available

    async def list_keys(
        self,
        memory_filter: MemoryFilter,
        order: Order,
        after: tuple[str, int] | None,
        limit: int,
        unchanged_since: int | None = None,
    ) -> list[tuple[str, int]]:
        """Return at most `limit` sort keys after `after`, each with its memory's id."""
        statement, values = list_statement(memory_filter, order, after, unchanged_since)
        result = await self._connection.execute(statement, {**self._values, **values, "limit": limit})
        return [(_format_key(order, row[0]), row[1]) for row in result]

    async def list_groups(
        self, memory_filter: MemoryFilter, group_by: GroupField, after: str, limit: int
    ) -> list[MemoryGroup]:
        """Return at most `limit` groups after `after`, in the order of their bytes."""
        statement, values = groups_statement(memory_filter, group_by)
        result = await self._connection.execute(statement, {**self._values, **values, "after": after, "limit": limit})
        return [MemoryGroup(*row) for row in result]

    async def expiries(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """Return those of the memories that exist, each with its expiry in microseconds since 1970."""
        return await index_rows.expiries(self._connection, self.namespace.number, ids)

    async def identifiers(self, after: int, limit: int) -> list[int]:
        """Return at most `limit` sorted ids of memories above `after`, including expired ones."""
        return await index_rows.identifiers(self._connection, self.namespace.number, after, limit)

    async def index_rows(self, ids: Sequence[int], encoder_id: str) -> IndexRows:
        """Return the rows of those of the memories that exist."""
        return await index_rows.index_rows(self._connection, self.namespace.number, ids, encoder_id)


def list_statement(
    memory_filter: MemoryFilter, order: Order, after: tuple[str, int] | None, unchanged_since: int | None
) -> Statement:
    """Return the statement of `Snapshot.list_keys`, with its values but :ns, :now and :limit."""
    conditions, values = filters.conditions(memory_filter)
    key, kind = _KEYS[order.field]
    if order.field is OrderField.KEY:
        conditions += " AND m.key IS NOT NULL"
    if after is not None:
        conditions += f" AND ({key}, m.id) {'<' if order.descending else '>'} (CAST(:key AS {kind}), :after)"
        values |= {"key": _parse_key(kind, after[0]), "after": after[1]}
    if unchanged_since is not None:
        conditions += _UNCHANGED
        values["unchanged_since"] = unchanged_since
    direction = "DESC" if order.descending else "ASC"
    statement = sql(
        f"SELECT CAST({key} AS text), m.id FROM memories m WHERE {conditions}"
        f" ORDER BY {key} {direction}, m.id {direction} LIMIT :limit"
    )
    return statement, values


def groups_statement(memory_filter: MemoryFilter, group_by: GroupField) -> Statement:
    """Return the statement of `Snapshot.list_groups`, with its values but :ns, :now, :after and :limit."""
    conditions, values = filters.conditions(memory_filter)
    column = f"m.{group_by.value}"
    statement = sql(
        f"SELECT {column}, count(*), max(m.event_time), max(m.create_time), max(m.update_time) FROM memories m"
        f" WHERE {conditions} AND {column} <> '' AND {column} > :after GROUP BY {column} ORDER BY {column} LIMIT :limit"
    )
    return statement, values


def _format_key(order: Order, key: str) -> str:
    """Return a sort key as a page token contains it: a memory's own key may have any characters."""
    return base64.b64encode(key.encode()).decode() if order.field is OrderField.KEY else key


def _parse_key(kind: str, text: str) -> datetime | int | str:
    """Parse a page token's key. A token with a valid digest may contain any, and PostgreSQL fails on an invalid one.

    Raises:
        InvalidArgument: the key is of another kind.
    """
    key: datetime | int | str
    try:
        if kind == "text":
            key = base64.b64decode(text, validate=True).decode()
        else:
            key = datetime.fromisoformat(text) if kind == "timestamptz" else int(text)
    except ValueError:
        key = -1
    if (isinstance(key, int) and not 0 <= key < 2**63) or (isinstance(key, str) and "\0" in key):
        raise InvalidArgument("page_token", "is invalid; send a token of this service unchanged, or start without one")
    return key
