"""Statements that read memories."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from somabrain_service.domain.names import MemoryName, MemoryRef
from somabrain_service.store.postgres.driver.arrays import numbers
from somabrain_service.store.postgres.driver.statement import Statement, sql
from somabrain_service.store.postgres.queries import filters, rows

FIND_LIVE = sql(
    f"SELECT {rows.MEMORY} FROM memories m"
    f" WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = :id AND {filters.LIVE}"
)
_FIND_LIVE_BY_KEY = sql(
    f"SELECT {rows.MEMORY} FROM memories m"
    f" WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.key = :key AND {filters.LIVE}"
)
_BY_IDS = sql(f"""
SELECT {rows.MEMORY} FROM (
    SELECT m.*, ordinal, sum({rows.SIZE}) OVER (ORDER BY ordinal) AS size_bytes
    FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY AS requested (id, ordinal)
    CROSS JOIN LATERAL (
        SELECT * FROM memories s WHERE s.tenant_id = :tenant AND s.namespace_id = :ns AND s.id = requested.id OFFSET 0
    ) AS m
) AS m
WHERE ordinal = 1 OR size_bytes <= :size_bytes
ORDER BY ordinal
""")


def by_ids_statement(ns: int, ids: Sequence[int], size_bytes: int) -> Statement:
    """Return the statement of `Snapshot.memories`."""
    return _BY_IDS, {"ns": ns, "ids": numbers(ids), "size_bytes": size_bytes}


FIND_LIVE_FOR_UPDATE = sql(f"{FIND_LIVE.text} FOR UPDATE")
_FIND_LIVE_BY_KEY_FOR_UPDATE = sql(f"{_FIND_LIVE_BY_KEY.text} FOR UPDATE")


TOUCH = sql(f"""
UPDATE memories m SET expire_time = :expire_time
WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = ANY(CAST(:ids AS bigint[]))
    AND m.expire_time > :now AND m.expire_time < :expire_time
RETURNING {rows.MEMORY}
""")


def find_live(ref: MemoryRef, ns: int, now: datetime, *, for_update: bool = False) -> Statement:
    """Return the statement that reads a live memory by name or key, in the namespace `ns`."""
    if isinstance(ref, MemoryName):
        return FIND_LIVE_FOR_UPDATE if for_update else FIND_LIVE, {"ns": ns, "now": now, "id": ref.memory}
    statement = _FIND_LIVE_BY_KEY_FOR_UPDATE if for_update else _FIND_LIVE_BY_KEY
    return statement, {"ns": ns, "now": now, "key": ref.key}
