"""Status of the resource: pure, only from the observed state, every condition with its generation."""

from somabrain_operator.status.status import render_deletion_status, render_status

__all__ = ["render_deletion_status", "render_status"]
