"""Statements that read one memory."""

from __future__ import annotations

from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.queries import filters, rows

FIND_LIVE = sql(
    f"SELECT {rows.MEMORY} FROM memories m"
    f" WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = :id AND {filters.LIVE}"
)
FIND_LIVE_FOR_UPDATE = sql(f"{FIND_LIVE.text} FOR UPDATE")
