"""Add the token vectors of memories, and the setting of namespaces that says what their memories are.

A memory's token vectors belong to its vector: they go with it by cascade, whichever statement deletes it, and so with
the memory. `usage` counts the memories that have them and their bytes: the reencoding job finds namespaces that lack
some, and the tenant's quota is compared with them.

`data` is never compressed, since compression gains nothing there. The worker role counts bytes by `size_bytes`, and may
not read the data.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0006"
down_revision = "0005"

NUMBER = 6
OLDEST_COMPATIBLE = 1

TABLE = """
CREATE TABLE memory_token_vectors (
    tenant_id uuid NOT NULL,
    namespace_id integer NOT NULL,
    memory bigint NOT NULL,
    size_bytes integer NOT NULL,
    truncated boolean NOT NULL,
    questions real NOT NULL,
    speaker text NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (tenant_id, namespace_id, memory),
    FOREIGN KEY (tenant_id, namespace_id, memory) REFERENCES memory_vectors ON DELETE CASCADE
);
ALTER TABLE memory_token_vectors ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE usage ADD COLUMN token_texts bigint NOT NULL DEFAULT 0, ADD COLUMN token_bytes bigint NOT NULL DEFAULT 0;
ALTER TABLE namespaces ADD COLUMN content text NOT NULL DEFAULT 'conversation'
"""

GRANTS = {
    "memory_token_vectors": "SELECT (tenant_id, namespace_id, memory, size_bytes), INSERT",
    "usage": "UPDATE (token_texts, token_bytes)",
}


def _role(name: str) -> str:
    """Return a configured role, quoted as an identifier."""
    role: str = context.config.attributes[name]
    return op.get_bind().dialect.identifier_preparer.quote_identifier(role)


def _set_schema_version(number: int) -> None:
    schema_info = sa.table("schema_info", sa.column("current"), sa.column("oldest_compatible"))
    op.execute(schema_info.update().values(current=number, oldest_compatible=OLDEST_COMPATIBLE))


def upgrade() -> None:
    """Create the table with its policies and grants, and the columns; their defaults rewrite no table."""
    app, worker = _role("app_role"), _role("worker_role")
    op.execute(TABLE)
    op.execute("ALTER TABLE memory_token_vectors ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner ON memory_token_vectors TO CURRENT_USER USING (true)")
    op.execute(
        f"CREATE POLICY tenant ON memory_token_vectors TO {app} "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(f"CREATE POLICY worker ON memory_token_vectors TO {worker} USING (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON memory_token_vectors TO {app}")
    for table, rights in GRANTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {worker}")
    _set_schema_version(NUMBER)


def downgrade() -> None:
    """Drop the table and the columns; token vectors are made again by the next upgrade."""
    op.execute(f"REVOKE {GRANTS['usage']} ON usage FROM {_role('worker_role')}")
    op.execute("ALTER TABLE namespaces DROP COLUMN content")
    op.execute("ALTER TABLE usage DROP COLUMN token_texts, DROP COLUMN token_bytes")
    op.execute("DROP TABLE memory_token_vectors")
    _set_schema_version(5)
