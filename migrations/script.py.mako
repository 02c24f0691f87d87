"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

NUMBER = ...
OLDEST_COMPATIBLE = ...


def upgrade() -> None:
    """."""
    op.execute(f"UPDATE schema_info SET current = {NUMBER}, oldest_compatible = {OLDEST_COMPATIBLE}")


def downgrade() -> None:
    """."""
