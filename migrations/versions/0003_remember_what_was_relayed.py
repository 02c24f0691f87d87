"""Remember what was relayed: up to which change of each namespace the event log has been told.

The worker's alone. A row outlives its namespace, so that the end of the namespace can be told, too; and it holds name
and epoch as they were told, by which a history that was restored is known.

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
    """The worker role of the settings, quoted as an identifier."""
    role: str = context.config.attributes["worker_role"]
    return op.get_bind().dialect.identifier_preparer.quote_identifier(role)


def _set_schema_version(number: int) -> None:
    schema_info = sa.table("schema_info", sa.column("current"), sa.column("oldest_compatible"))
    op.execute(schema_info.update().values(current=number, oldest_compatible=OLDEST_COMPATIBLE))


def upgrade() -> None:
    """Make the table, the worker's alone, and let the worker know how namespaces are called."""
    worker = _worker_role()
    op.execute(TABLE)
    op.execute("ALTER TABLE relayed ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner ON relayed TO CURRENT_USER USING (true)")
    op.execute(f"CREATE POLICY worker ON relayed TO {worker} USING (true)")
    for table, rights in GRANTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {worker}")
    _set_schema_version(NUMBER)


def downgrade() -> None:
    """Forget it: events begin anew after the next upgrade."""
    worker = _worker_role()
    for table, rights in GRANTS.items():
        op.execute(f"REVOKE {rights} ON {table} FROM {worker}")
    op.execute("DROP TABLE relayed")
    _set_schema_version(2)
