"""The reference of Remember: the rows it wrote, written again by plain SQL into tables of the same shape.

Each memory is one transaction with its row, its vector and its terms: no identity, no idempotency, no feed, no
version, no row security. The tables have the indexes of the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads

TABLES = ("memories", "memory_vectors", "memory_terms")
Row = tuple[object, ...]
Answer = TypeVar("Answer")
Run = Callable[[int, Callable[[int], Awaitable[object]]], Awaitable[Answer]]


async def raw_inserts(dsn: str, at_once: int, run: Run[Answer]) -> Answer:
    """Time the inserts of every memory in the database, by `at_once` connections."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        set_json_loads(
            lambda raw: raw if isinstance(raw, str) else raw.decode(), connection
        )  # labels go back as they came
        for table in TABLES:
            await connection.execute(f"CREATE TABLE raw_{table} (LIKE {table} INCLUDING ALL)")
        memories = await _rows(connection, "SELECT * FROM memories ORDER BY id")
        vectors = {row[2]: row for row in await _rows(connection, "SELECT * FROM memory_vectors")}
        grouped = "SELECT memory, min(length), array_agg(term), array_agg(tf) FROM memory_terms GROUP BY memory"
        terms = {row[0]: row[1:] for row in await _rows(connection, grouped)}
    free: asyncio.Queue[psycopg.AsyncConnection[TupleRow]] = asyncio.Queue()
    for _ in range(at_once):
        free.put_nowait(await psycopg.AsyncConnection.connect(dsn))

    async def insert(number: int) -> None:
        row = memories[number]
        connection = await free.get()
        async with connection.transaction(), connection.cursor() as cursor:
            await cursor.execute(_insert("memories", len(row)), row)
            await cursor.execute(_insert("memory_vectors", len(vectors[row[2]])), vectors[row[2]])
            await cursor.execute(
                "INSERT INTO raw_memory_terms SELECT %s, %s, term, %s, tf, %s"
                " FROM unnest(%s::text[], %s::int[]) AS given (term, tf)",
                (*row[:3], *terms[row[2]]),
            )
        free.put_nowait(connection)

    try:
        return await run(len(memories), insert)
    finally:
        while not free.empty():
            await free.get_nowait().close()


async def _rows(connection: psycopg.AsyncConnection[TupleRow], query: str) -> list[Row]:
    return await (await connection.execute(query)).fetchall()


def _insert(table: str, columns: int) -> bytes:
    return f"INSERT INTO raw_{table} VALUES ({', '.join(['%s'] * columns)})".encode()
