"""What a container may use."""

from __future__ import annotations

from somabrain_operator.model.base import ApiModel
from somabrain_operator.model.quantity import Quantity


class ResourceList(ApiModel):
    """Amounts of what a node has."""

    cpu: Quantity | None = None
    """Cores, such as 500m."""
    memory: Quantity | None = None
    """Bytes, such as 512Mi."""


class ResourceRequirements(ApiModel):
    """What a container may use of its node."""

    requests: ResourceList = ResourceList()
    """What is kept free for it."""
    limits: ResourceList = ResourceList()
    """What it cannot exceed."""
