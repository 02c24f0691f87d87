"""Add index texts: what is searched of a memory in place of its text.

An earlier version ignores it: while its pods run beside this one, a memory that they update is searched by its text,
and one that they delete leaves the bytes of its index text in the tenant's usage.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0008"
down_revision = "0007"

NUMBER = 8
OLDEST_COMPATIBLE = 1


def _worker_role() -> str:
    """Return the configured worker role, quoted as an identifier."""
    role: str = context.config.attributes["worker_role"]
    return op.get_bind().dialect.identifier_preparer.quote_identifier(role)


def _set_schema_version(number: int) -> None:
    schema_info = sa.table("schema_info", sa.column("current"), sa.column("oldest_compatible"))
    op.execute(schema_info.update().values(current=number, oldest_compatible=OLDEST_COMPATIBLE))


def upgrade() -> None:
    """Add the column to memories and their revisions, and the grant of the worker, which indexes it again."""
    op.execute("ALTER TABLE memories ADD COLUMN index_text text")
    op.execute("ALTER TABLE memory_revisions ADD COLUMN index_text text")
    op.execute(f"GRANT SELECT (index_text) ON memories TO {_worker_role()}")
    _set_schema_version(NUMBER)


def downgrade() -> None:
    """Drop the column: memories are searched as before until they are updated."""
    op.execute("ALTER TABLE memory_revisions DROP COLUMN index_text")
    op.execute("ALTER TABLE memories DROP COLUMN index_text")
    _set_schema_version(7)
