"""Grant the worker role what the expiry, trim and purge jobs need.

The worker role sees every tenant, so it gets privileges on single tables and columns. It needs only the length of a
memory's text, which PostgreSQL allows only to roles that may read the column; revisions, labels and vectors are deleted
by the cascade, which runs as their owner, so the worker role may read none of their contents.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"

NUMBER = 2
OLDEST_COMPATIBLE = 1

GRANTS = {
    "namespaces": "SELECT (tenant_id, id, version, epoch, feed_retention), UPDATE (version)",
    "usage": "SELECT, UPDATE (memories, text_bytes, tokens, vectors)",
    "memories": "SELECT (tenant_id, namespace_id, id, text, revision, length, expire_time), DELETE",
    "memory_vectors": "SELECT (tenant_id, namespace_id, memory)",
    "terms": "SELECT, UPDATE (df), DELETE",
    "memory_terms": "SELECT (tenant_id, namespace_id, term, memory), DELETE",
    "changes": "SELECT, INSERT, DELETE",
    "idempotency_keys": "SELECT (tenant_id, key, namespace_id, memory, expire_time), UPDATE (body_hash), DELETE",
}


def _worker_role() -> str:
    """Return the configured worker role, quoted as an identifier."""
    role: str = context.config.attributes["worker_role"]
    return op.get_bind().dialect.identifier_preparer.quote_identifier(role)


def _set_schema_version(number: int) -> None:
    schema_info = sa.table("schema_info", sa.column("current"), sa.column("oldest_compatible"))
    op.execute(schema_info.update().values(current=number, oldest_compatible=OLDEST_COMPATIBLE))


def upgrade() -> None:
    """Create the policies and grants."""
    worker = _worker_role()
    for table, rights in GRANTS.items():
        op.execute(f"CREATE POLICY worker ON {table} TO {worker} USING (true)")
        op.execute(f"GRANT {rights} ON {table} TO {worker}")
    _set_schema_version(NUMBER)


def downgrade() -> None:
    """Revoke the grants and drop the policies."""
    worker = _worker_role()
    for table, rights in GRANTS.items():
        op.execute(f"REVOKE {rights} ON {table} FROM {worker}")
        op.execute(f"DROP POLICY worker ON {table}")
    _set_schema_version(1)
