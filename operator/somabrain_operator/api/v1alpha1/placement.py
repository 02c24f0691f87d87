"""Service, disruption budget, scheduling and probes of the pods."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from somabrain_operator.api.v1alpha1.affinity import Affinity, LabelKey, Labels
from somabrain_operator.api.v1alpha1.base import ApiModel, rule, rules

Annotations = Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=32)]


class Service(ApiModel):
    """Service with a cluster IP, besides the headless one."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Type of the Service. `ClusterIP`: inside the cluster only. The headless Service exists in any case."""
    annotations: Annotations = Field({})
    """Annotations of the Service, for example for the provider's load balancer."""


class DisruptionBudget(ApiModel):
    """PodDisruptionBudget of the servers, for drains of nodes."""

    max_unavailable: Annotated[int, Field(ge=1, le=99)] = 1
    """Maximum number of unavailable pods. With one replica a drain is a short interruption and is not blocked."""


class TopologySpread(ApiModel):
    """Topology spread of the servers over the cluster."""

    topology_key: LabelKey = "kubernetes.io/hostname"
    """Node label whose values are the topology domains; topology.kubernetes.io/zone: spread over zones."""
    max_skew: Annotated[int, Field(ge=1, le=100)] = 1
    """Maximum difference of the number of pods between two domains."""
    when_unsatisfiable: Literal["ScheduleAnyway", "DoNotSchedule"] = "ScheduleAnyway"
    """`DoNotSchedule`: a pod that would exceed `maxSkew` stays pending. `ScheduleAnyway`: it runs nevertheless."""


class Toleration(ApiModel):
    """Node taint that pods tolerate."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.key) || self.operator == 'Exists'",
                "spec.scheduling.tolerations: an item has no key; set the taint's key, or set its operator to Exists",
            ),
            rule(
                "!has(self.value) || self.operator == 'Equal'",
                "spec.scheduling.tolerations: an item with operator Exists has a value; remove the value",
            ),
            rule(
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "spec.scheduling.tolerations: tolerationSeconds needs the effect NoExecute",
            ),
        )
    )

    key: LabelKey | None = None
    """Key of the taint. Not set, with operator Exists: every taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """`Equal`: the taint has this `value`. `Exists`: any value."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Not set: all effects."""
    toleration_seconds: Annotated[int, Field(ge=0, le=604_800)] | None = None
    """Seconds for which a pod stays after the taint is added. Not set: forever."""


class Scheduling(ApiModel):
    """Scheduling of the pods of servers and migrations."""

    node_selector: Labels = Field({})
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints that pods tolerate."""
    affinity: Affinity | None = None
    """Affinity to nodes and to other pods."""
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    """PriorityClass of the pods. Not set: the cluster's default."""


Id = Annotated[int, Field(ge=1, le=2_147_483_647)]


class PodSecurityContext(ApiModel):
    """User and group ids of the pods; one that is not set is left to the cluster."""

    run_as_user: Id | None = None
    """User id of all containers."""
    run_as_group: Annotated[int, Field(ge=0, le=2_147_483_647)] | None = None
    """Primary group id of all containers. 0 is the root group, which gives no right of root."""
    fs_group: Id | None = None
    """Group id that owns the files of volumes."""


class Probes(ApiModel):
    """Startup, liveness and readiness probes of a server."""

    startup_seconds: Annotated[int, Field(ge=5, le=3600)] = 120
    """Seconds a server may take to start; after that it is restarted."""
    liveness_period_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    """Interval of the liveness probe, in seconds."""
    liveness_failures: Annotated[int, Field(ge=1, le=100)] = 3
    """Consecutive failures of the liveness probe after which a server is restarted."""
    readiness_period_seconds: Annotated[int, Field(ge=1, le=300)] = 2
    """Interval of the readiness probe, in seconds."""
    readiness_failures: Annotated[int, Field(ge=1, le=100)] = 2
    """Consecutive failures of the readiness probe after which a server receives no more calls."""
    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    """Time-out of the liveness and readiness probes, in seconds."""
