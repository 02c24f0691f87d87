"""Add the cursor of the reanalyze job, and grant the worker role what the reencode and reanalyze jobs need.

`analyzed_after` is set in a namespace whose analyzer was changed: memories with ids up to it are analyzed by the new
one, those above are pending; NULL: none is pending. The reencode job needs no cursor: it finds memories without a
vector of their namespace's encoder.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"

NUMBER = 4
OLDEST_COMPATIBLE = 1

GRANTS = {
    "namespaces": "SELECT (analyzer, encoder, update_time, analyzed_after), UPDATE (analyzed_after)",
    "memories": "SELECT (update_time), UPDATE (length)",
    "memory_vectors": "SELECT (encoder_id), INSERT",
    "terms": "INSERT",
    "memory_terms": "INSERT",
}


def _worker_role() -> str:
    """Return the configured worker role, quoted as an identifier."""
    role: str = context.config.attributes["worker_role"]
    return op.get_bind().dialect.identifier_preparer.quote_identifier(role)


def _set_schema_version(number: int) -> None:
    schema_info = sa.table("schema_info", sa.column("current"), sa.column("oldest_compatible"))
    op.execute(schema_info.update().values(current=number, oldest_compatible=OLDEST_COMPATIBLE))


def upgrade() -> None:
    """Add the column and the grants."""
    op.execute("ALTER TABLE namespaces ADD COLUMN analyzed_after bigint")
    worker = _worker_role()
    for table, rights in GRANTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {worker}")
    _set_schema_version(NUMBER)


def downgrade() -> None:
    """Revoke the grants and drop the column. Pending memories stay as they are: schema 3 supports only English."""
    worker = _worker_role()
    for table, rights in GRANTS.items():
        op.execute(f"REVOKE {rights} ON {table} FROM {worker}")
    op.execute("ALTER TABLE namespaces DROP COLUMN analyzed_after")
    _set_schema_version(3)
