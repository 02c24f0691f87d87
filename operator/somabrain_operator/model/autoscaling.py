"""How many servers there are when their number follows the load."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from somabrain_operator.model.base import ApiModel, rule, rules


class Autoscaling(ApiModel):
    """A HorizontalPodAutoscaler over the servers. It needs the metrics API (metrics-server or the like)."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.min) || self.min <= self.max",
                "spec.autoscaling.min is more than spec.autoscaling.max; lower min or raise max",
            )
        )
    )

    min: Annotated[int, Field(ge=1, le=100)] = 1
    """The fewest servers."""
    max: Annotated[int, Field(ge=1, le=100)]
    """The most servers."""
    cpu: Annotated[int, Field(ge=1, le=1000)] = 80
    """Percent of `spec.resources.requests.cpu` that a server uses on average; more servers come above it."""
