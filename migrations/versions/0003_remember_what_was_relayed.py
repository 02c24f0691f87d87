"""Add the outbox cursor: the last published change of each namespace.

Only the worker role has access. A row outlives its namespace, so that the namespace's deletion can be published, too;
and it stores the published name and epoch, by which a restored history is recognized.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"

NUMBER = 3
OLDEST_COMPATIBLE = 1

TABLE = """
CREATE TABLE relayed (
    tenant_id uuid NOT NULL,
    namespace_id integer NOT NULL,
    name text NOT NULL,
    epoch text NOT NULL,
    version bigint NOT NULL,
    ordinal integer NOT NULL,
    PRIMARY KEY (tenant_id, namespace_id)
) WITH (fillfactor = 50)
"""

GRANTS = {
    "namespaces": "SELECT (name)",
    "relayed": "SELECT, INSERT, UPDATE, DELETE",
}


def _worker_role() -> str:
    """Return the configured worker role, quoted as an identifier."""
    role: str = context.config.attributes["worker_role"]
    return op.get_bind().dialect.identifier_preparer.quote_identifier(role)


def _set_schema_version(number: int) -> None:
    schema_info = sa.table("schema_info", sa.column("current"), sa.column("oldest_compatible"))
    op.execute(schema_info.update().values(current=number, oldest_compatible=OLDEST_COMPATIBLE))


def upgrade() -> None:
    """Create the table for the worker role only, and grant it the names of namespaces."""
    worker = _worker_role()
    op.execute(TABLE)
    op.execute("ALTER TABLE relayed ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner ON relayed TO CURRENT_USER USING (true)")
    op.execute(f"CREATE POLICY worker ON relayed TO {worker} USING (true)")
    for table, rights in GRANTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {worker}")
    _set_schema_version(NUMBER)


def downgrade() -> None:
    """Drop the table: events start from the beginning after the next upgrade."""
    worker = _worker_role()
    for table, rights in GRANTS.items():
        op.execute(f"REVOKE {rights} ON {table} FROM {worker}")
    op.execute("DROP TABLE relayed")
    _set_schema_version(2)
