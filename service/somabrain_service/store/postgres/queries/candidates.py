"""The candidates of a Recall: the top by words, the top by vector, their neighbours, and the neighbours of these.

Each table is looked up from the few rows already selected, by LATERAL subqueries that OFFSET 0 keeps from being
flattened: for a namespace without statistics yet the planner estimates one row, and would choose a nested loop over
all rows. For the same reason `IN` the scope is tested with IS TRUE: it stays a hashed lookup and does not become a
join.

All exact. A filter applies before the search, so it never under-fills. Rows extend twice as far around a seed as the
kernel does: a neighbour within its reach is a candidate, too, and needs all of its own neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.ranking.bm25 import K1, B, Postings
from somabrain_service.domain.ranking.contiguity import KERNEL_WIDTH
from somabrain_service.domain.ranking.score import Candidates
from somabrain_service.store.postgres.driver.arrays import numbers
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import Sql, Statement, sql
from somabrain_service.store.postgres.queries import filters
from somabrain_service.store.records import Search

MAX_COMPARED_VECTORS = 50_000
"""Maximum vectors that one statement compares, those of the newest memories that match the filter: 21 ms of CPU time.
Beyond it the result is marked as truncated."""

_EXPIRED = """scope AS MATERIALIZED (
    SELECT m.id FROM memories m WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.expire_time <= :now
)"""
_MATCHING = "scope AS MATERIALIZED (SELECT m.id FROM memories m WHERE {conditions})"

_LEXICAL = """lexical AS (
    SELECT t.memory
    FROM unnest(CAST(:seeds AS text[]), CAST(:seed_idf AS float8[])) AS q (term, idf)
    CROSS JOIN LATERAL (
        SELECT p.memory, p.tf, p.length FROM memory_terms p
        WHERE p.tenant_id = :tenant AND p.namespace_id = :ns AND p.term = q.term OFFSET 0
    ) AS t
    WHERE (t.memory IN (SELECT id FROM scope)) IS {inside}
    GROUP BY t.memory
    ORDER BY round(sum(q.idf * t.tf * :k1_1 / (t.tf + :k1 * (1 - :b + :b * t.length / :mean_length))) * 1e6) DESC,
        t.memory
    LIMIT :limit
)"""

# A subquery, so that it is evaluated once and not per row.
_QUERY = "(SELECT CAST(CAST(:vector AS real[]) AS halfvec))"

_COMPARED = """FROM memory_vectors v
    WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.encoder_id = :encoder_id
        AND (v.memory IN (SELECT id FROM scope)) IS {inside}"""
_FLOOR = """floor AS MATERIALIZED (
    SELECT v.memory {compared}
    ORDER BY v.memory DESC OFFSET :most_vectors LIMIT 1
)"""
_ABOVE_FLOOR = " AND v.memory > coalesce((SELECT memory FROM floor), -1)"
_DENSE = """dense AS (
    SELECT v.memory {compared}
    ORDER BY v.embedding <=> {query}, v.memory
    LIMIT :limit
)"""

# Positions within twice the reach of a seed; overlapping ranges are merged into one.
_POOL = """seed AS MATERIALIZED ({seeds}), place AS (
    SELECT s.session, s.position, s.position - lag(s.position) OVER (PARTITION BY s.session ORDER BY s.position) AS gap
    FROM seed CROSS JOIN LATERAL (
        SELECT m.session, m.position FROM memories m
        WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = seed.memory OFFSET 0
    ) AS s WHERE s.session <> ''
), run AS (
    SELECT session, min(position) - 2 * :reach AS low, max(position) + 2 * :reach AS high
    FROM (
        SELECT session, position,
            count(*) FILTER (WHERE gap > 4 * :reach) OVER (PARTITION BY session ORDER BY position) AS number
        FROM place
    ) AS numbered GROUP BY session, number
), pool AS (
    SELECT id, bool_or(seed) AS seed FROM (
        SELECT memory AS id, true AS seed FROM seed
        UNION ALL
        SELECT n.id, false
        FROM run CROSS JOIN LATERAL (
            SELECT m.id FROM memories m
            WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.session = run.session AND m.session <> ''
            AND m.position BETWEEN run.low AND run.high OFFSET 0
        ) AS n
        WHERE (n.id IN (SELECT id FROM scope)) IS {inside}
    ) AS near GROUP BY id
)
SELECT m.id, pool.seed, m.session, coalesce(m.position, 0), date_part('epoch', m.event_time), m.salience,
    m.length, {truncated}, {cosine}
FROM pool CROSS JOIN LATERAL (
    SELECT * FROM memories m WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = pool.id OFFSET 0
) AS m {vectors}
ORDER BY m.id
"""

_POSTINGS = sql("""
SELECT p.memory, p.term, p.tf FROM memory_terms p
WHERE p.tenant_id = :tenant AND p.namespace_id = :ns
    AND p.memory = ANY(CAST(:ids AS bigint[])) AND p.term = ANY(CAST(:terms AS text[]))
""")


@lru_cache(maxsize=512)
def _parse(statement: str) -> Sql:
    """Parse a statement; cached, because that takes longer than to assemble its text."""
    return sql(statement)


async def find(connection: Connection, values: Mapping[str, object], search: Search, vector_count: int) -> Candidates:
    """Run the search. `values` has :ns and :now; `vector_count`: number of vectors in the namespace."""
    statement, more = search_statement(search, many=vector_count > MAX_COMPARED_VECTORS)
    rows = (await connection.execute(statement, {**values, **more})).all()
    columns = list(zip(*rows, strict=True)) if rows else [()] * 9
    ids = np.array(columns[0], np.int64)
    sessions: dict[str, int] = {"": -1}
    return Candidates(
        ids=ids,
        seeds=np.array(columns[1], np.bool_),
        session=np.array([sessions.setdefault(s, len(sessions)) for s in columns[2]], np.int64),
        position=np.array(columns[3], np.int64),
        event_time_s=np.array(columns[4], np.float64),
        salience=np.array(columns[5], np.float64),
        doc_length=np.array(columns[6], np.float64),
        postings=await _postings(connection, values, search.terms, ids),
        cosine=None if search.vector is None else np.array(columns[8], np.float64),
        truncated=any(columns[7][:1]),
    )


async def _postings(
    connection: Connection, values: Mapping[str, object], terms: tuple[str, ...], ids: NDArray[np.int64]
) -> Postings:
    """Return the postings of the terms in the memories with these ids, which are sorted."""
    rows: Sequence[Any] = ()
    if len(ids) and terms:
        parameters = {"ns": values["ns"], "terms": list(terms), "ids": numbers(ids)}
        rows = (await connection.execute(_POSTINGS, parameters)).all()
    memory, term, tf = zip(*rows, strict=True) if rows else ((), (), ())
    term_index = {term: i for i, term in enumerate(terms)}
    return Postings(
        row=np.searchsorted(ids, np.array(memory, np.int64)),
        term=np.array([term_index[t] for t in term], np.int64),
        tf=np.array(tf, np.float64),
    )


def search_statement(search: Search, *, many: bool) -> Statement:
    """Assemble the statement of a search, with its values but :ns and :now.

    `many`: compare only the newest MAX_COMPARED_VECTORS.
    """
    values: dict[str, object] = {"reach": KERNEL_WIDTH, "limit": search.limit}
    if search.filter.empty:
        parts, inside = [_EXPIRED], "FALSE"
    else:
        conditions, more = filters.conditions(search.filter)
        parts, inside = [_MATCHING.format(conditions=conditions)], "TRUE"
        values |= more
    seeds = []
    if search.seeds:
        parts.append(_LEXICAL.format(inside=inside))
        seeds.append("SELECT memory FROM lexical")
        values |= {
            "seeds": [search.terms[i] for i in search.seeds],
            "seed_idf": [search.idf[i] for i in search.seeds],
            "mean_length": search.mean_length,
            "k1": K1,
            "k1_1": K1 + 1,
            "b": B,
        }
    cosine, vectors, truncated = "0", "", "false"
    if search.vector is not None:
        compared = _COMPARED.format(inside=inside)
        if many:
            parts.append(_FLOOR.format(compared=compared))
            compared += _ABOVE_FLOOR
            truncated = "EXISTS (SELECT FROM floor)"
            values["most_vectors"] = MAX_COMPARED_VECTORS
        parts.append(_DENSE.format(compared=compared, query=_QUERY))
        seeds.append("SELECT memory FROM dense")
        values |= {"vector": search.vector, "encoder_id": search.encoder_id}
        cosine = f"coalesce(1 - (v.embedding <=> {_QUERY}), 0)"
        vectors = (
            "LEFT JOIN LATERAL (SELECT * FROM memory_vectors v"
            " WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = m.id"
            " AND v.encoder_id = :encoder_id OFFSET 0) AS v ON true"
        )
    union = " UNION ".join(seeds) or "SELECT CAST(NULL AS bigint) AS memory WHERE false"
    pool = _POOL.format(seeds=union, inside=inside, truncated=truncated, cosine=cosine, vectors=vectors)
    return _parse(f"WITH {', '.join([*parts, pool])}"), values
