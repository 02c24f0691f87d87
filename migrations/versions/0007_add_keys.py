"""Add keys: a memory can have one that its caller chose, unique among the memories of its namespace.

Expired memories that are not deleted yet are in the unique index, too: a condition on the time is not possible there.
Who claims the key of one deletes it first. An earlier version writes no keys, and leaves those that exist as they are;
but when it deletes a memory, it does not subtract the key's bytes from the tenant's usage. That counts too much
by the keys that pods of the former version delete while they run beside this one.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0007"
down_revision = "0006"

NUMBER = 7
OLDEST_COMPATIBLE = 1


def _worker_role() -> str:
    """Return the configured worker role, quoted as an identifier."""
    role: str = context.config.attributes["worker_role"]
    return op.get_bind().dialect.identifier_preparer.quote_identifier(role)


def _set_schema_version(number: int) -> None:
    schema_info = sa.table("schema_info", sa.column("current"), sa.column("oldest_compatible"))
    op.execute(schema_info.update().values(current=number, oldest_compatible=OLDEST_COMPATIBLE))


def upgrade() -> None:
    """Add the column to memories and their revisions, its index, and the worker's grant, which counts its bytes."""
    op.execute('ALTER TABLE memories ADD COLUMN key text COLLATE "C"')
    op.execute('ALTER TABLE memory_revisions ADD COLUMN key text COLLATE "C"')
    op.execute("CREATE UNIQUE INDEX memories_key ON memories (tenant_id, namespace_id, key) WHERE key IS NOT NULL")
    op.execute(f"GRANT SELECT (key) ON memories TO {_worker_role()}")
    _set_schema_version(NUMBER)


def downgrade() -> None:
    """Drop the column with its index and grant: keys are lost, and their bytes still counted in the usage."""
    op.execute("ALTER TABLE memory_revisions DROP COLUMN key")
    op.execute("ALTER TABLE memories DROP COLUMN key")
    _set_schema_version(6)
