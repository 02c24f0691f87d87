"""What a container may use."""

from __future__ import annotations

from somabrain_operator.model.base import Part
from somabrain_operator.model.quantity import Quantity


class Amounts(Part):
    """Amounts of what a node has."""

    cpu: Quantity | None = None
    """Cores, such as 500m."""
    memory: Quantity | None = None
    """Bytes, such as 512Mi."""


class Resources(Part):
    """What a container may use of its node."""

    requests: Amounts = Amounts()
    """What is kept free for it."""
    limits: Amounts = Amounts()
    """What it cannot exceed."""
