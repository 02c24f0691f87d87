"""Add the trace parent of each change: the trace of the call that made it, so that its event can continue the trace.

The writing transaction sets it once, like its tenant, and the column's default reads it: statements that write changes
do not mention it, nor do those of earlier versions. It is NULL unless the call was traced.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

NUMBER = 5
OLDEST_COMPATIBLE = 1


def _set_schema_version(number: int) -> None:
    schema_info = sa.table("schema_info", sa.column("current"), sa.column("oldest_compatible"))
    op.execute(schema_info.update().values(current=number, oldest_compatible=OLDEST_COMPATIBLE))


def upgrade() -> None:
    """Add the column. Its default is stable, so the table is not rewritten."""
    op.execute(
        "ALTER TABLE changes ADD COLUMN traceparent text DEFAULT nullif(current_setting('app.traceparent', true), '')"
    )
    _set_schema_version(NUMBER)


def downgrade() -> None:
    """Drop the column."""
    op.execute("ALTER TABLE changes DROP COLUMN traceparent")
    _set_schema_version(4)
