"""What the resource says of itself: pure, only from what was observed, every condition with its generation."""

from somabrain_operator.status.status import render_status

__all__ = ["render_status"]
