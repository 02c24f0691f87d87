"""Resource requests and limits of containers."""

from __future__ import annotations

from somabrain_operator.api.v1alpha1.base import ApiModel
from somabrain_operator.api.v1alpha1.quantity import Quantity


class ResourceList(ApiModel):
    """Amounts of CPU and memory."""

    cpu: Quantity | None = None
    """CPU cores, such as 500m."""
    memory: Quantity | None = None
    """Memory in bytes, such as 512Mi."""


class ResourceRequirements(ApiModel):
    """Resource requests and limits of a container."""

    requests: ResourceList = ResourceList()
    """Amounts that the node reserves for the container."""
    limits: ResourceList = ResourceList()
    """Amounts that the container cannot exceed."""
