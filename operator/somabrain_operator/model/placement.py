"""Where pods run, how many may be missing, how they are found and watched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from somabrain_operator.model.affinity import Affinity, LabelKey, Labels
from somabrain_operator.model.base import ApiModel, rule, rules

Annotations = Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=32)]


class Service(ApiModel):
    """The Service with an address of its own."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """`ClusterIP`: inside the cluster only. The headless Service is always there beside it."""
    annotations: Annotations = Field({})
    """For the load balancer, as its provider says."""


class DisruptionBudget(ApiModel):
    """How many servers may be taken away at once by drains of nodes."""

    max_unavailable: Annotated[int, Field(ge=1, le=99)] = 1
    """So many at most. With one replica a drain is a short interruption and is not held up."""


class TopologySpread(ApiModel):
    """How servers are spread over the cluster."""

    topology_key: LabelKey = "kubernetes.io/hostname"
    """The label of nodes whose values they are spread over; topology.kubernetes.io/zone: over zones."""
    max_skew: Annotated[int, Field(ge=1, le=100)] = 1
    """How many servers more one value may have than another."""
    when_unsatisfiable: Literal["ScheduleAnyway", "DoNotSchedule"] = "ScheduleAnyway"
    """`DoNotSchedule`: a server that cannot be spread waits."""


class Toleration(ApiModel):
    """A taint of nodes that pods tolerate."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.key) || self.operator == 'Exists'",
                "spec.scheduling.tolerations: one has no key; name the taint's key, or set its operator to Exists",
            ),
            rule(
                "!has(self.value) || self.operator == 'Equal'",
                "spec.scheduling.tolerations: one with operator Exists has a value; remove the value",
            ),
            rule(
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "spec.scheduling.tolerations: tolerationSeconds needs the effect NoExecute",
            ),
        )
    )

    key: LabelKey | None = None
    """The taint's key. Not set, with operator Exists: every taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """`Equal`: the taint has this value. `Exists`: any."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Not set: all effects."""
    toleration_seconds: Annotated[int, Field(ge=0, le=604_800)] | None = None
    """How long a pod stays after the taint came. Not set: for ever."""


class Scheduling(ApiModel):
    """On which nodes servers and migrations run."""

    node_selector: Labels = Field({})
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints that are tolerated."""
    affinity: Affinity | None = None
    """Near what they run, and far from what."""
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    """How important they are, as a PriorityClass. Not set: the cluster's default."""


class Probes(ApiModel):
    """How patient the kubelet is with a server."""

    startup_seconds: Annotated[int, Field(ge=5, le=3600)] = 120
    """A server that has not started by then is started anew."""
    liveness_period_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    """How often it is asked whether it lives."""
    liveness_failures: Annotated[int, Field(ge=1, le=100)] = 3
    """After so many failures it is started anew."""
    readiness_period_seconds: Annotated[int, Field(ge=1, le=300)] = 2
    """How often it is asked whether it can serve."""
    readiness_failures: Annotated[int, Field(ge=1, le=100)] = 2
    """After so many failures it gets no more calls."""
    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    """How long an answer may take."""
