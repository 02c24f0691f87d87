"""Reference of Remember: the rows it wrote, written again by plain SQL into tables of the same structure.

Each memory is one transaction with its row, its vector and its terms: no authentication, no idempotency, no change
feed, no version, no row security. The tables have the same indexes as the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads

TABLES = ("memories", "memory_vectors", "memory_terms")
Connection = psycopg.AsyncConnection[TupleRow]
Row = tuple[object, ...]


@dataclass
class RawSql:
    """Open connections: `reader` reads the rows, and the others write them again."""

    reader: Connection
    free: asyncio.Queue[Connection] = field(default_factory=asyncio.Queue)
    _read: int = -1

    async def fresh(self) -> list[tuple[Row, Row, Row]]:
        """Return the memories written since the last call, each with its vector and its terms."""
        since = (self._read,)
        memories = await self._rows("SELECT * FROM memories WHERE id > %s ORDER BY id", since)
        vectors = {row[2]: row for row in await self._rows("SELECT * FROM memory_vectors WHERE memory > %s", since)}
        grouped = (
            "SELECT memory, min(length), array_agg(term), array_agg(tf) FROM memory_terms"
            " WHERE memory > %s GROUP BY memory"
        )
        terms = {row[0]: row[1:] for row in await self._rows(grouped, since)}
        if memories:
            self._read = int(str(memories[-1][2]))
        return [(row, vectors[row[2]], terms[row[2]]) for row in memories]

    async def insert(self, rows: tuple[Row, Row, Row]) -> None:
        """Write a memory in one transaction."""
        memory, vector, terms = rows
        connection = await self.free.get()
        async with connection.transaction(), connection.cursor() as cursor:
            await cursor.execute(_insert("memories", len(memory)), memory)
            await cursor.execute(_insert("memory_vectors", len(vector)), vector)
            await cursor.execute(
                "INSERT INTO raw_memory_terms SELECT %s, %s, term, %s, tf, %s"
                " FROM unnest(%s::text[], %s::int[]) AS given (term, tf)",
                (*memory[:3], *terms),
            )
        self.free.put_nowait(connection)

    async def _rows(self, query: str, values: Row) -> list[Row]:
        return await (await self.reader.execute(query.encode(), values)).fetchall()


@asynccontextmanager
async def raw_sql(dsn: str, connections: int) -> AsyncIterator[RawSql]:
    """Create the tables and open `connections` connections."""
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(await psycopg.AsyncConnection.connect(dsn, autocommit=True))
        set_json_loads(lambda raw: raw if isinstance(raw, str) else raw.decode(), reader)  # labels stay unparsed
        for table in TABLES:
            await reader.execute(f"CREATE TABLE raw_{table} (LIKE {table} INCLUDING ALL)".encode())
        database = RawSql(reader)
        for _ in range(connections):
            database.free.put_nowait(await stack.enter_async_context(await psycopg.AsyncConnection.connect(dsn)))
        yield database


def _insert(table: str, columns: int) -> bytes:
    return f"INSERT INTO raw_{table} VALUES ({', '.join(['%s'] * columns)})".encode()
