"""Horizontal autoscaling of the servers by CPU use."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from somabrain_operator.api.v1alpha1.base import ApiModel, rule, rules


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
    """Minimum number of pods."""
    max: Annotated[int, Field(ge=1, le=100)]
    """Maximum number of pods."""
    cpu: Annotated[int, Field(ge=1, le=1000)] = 80
    """Target CPU use of a pod on average, in percent of `spec.resources.requests.cpu`; above it pods are added."""
