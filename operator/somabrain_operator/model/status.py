"""What the operator answers: only what was observed, each statement with the generation it is about."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from somabrain_operator.model.base import ApiModel

Text = Annotated[str, Field(max_length=1024)]
Timestamp = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]

ConditionType: TypeAlias = Literal[
    "Ready", "ConfigValid", "ReferencesResolved", "Migrated", "Available", "Progressing", "Degraded", "Paused"
]
ConditionStatus: TypeAlias = Literal["True", "False", "Unknown"]
Phase: TypeAlias = Literal["Paused", "Invalid", "Waiting", "Migrating", "RollingOut", "Ready", "Degraded", "Hibernated"]


class Condition(ApiModel):
    """One fact, in one word for programs and one sentence for the person on call."""

    type: ConditionType
    """Which fact."""
    status: ConditionStatus
    """Unknown: it was not looked at, and the message says why."""
    reason: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """The cause in one CamelCase word."""
    message: Annotated[str, Field(max_length=4096)]
    """The cause in a sentence, with the field and the remedy where something is wrong."""
    observed_generation: int
    """The generation of the spec that it is about."""
    last_transition_time: Timestamp
    """When `status` last changed."""


class MigrationStatus(ApiModel):
    """Where the migration stands."""

    hash: Annotated[str, Field(max_length=32)] | None = None
    """What is migrated for: image, command and the owner's secret."""
    job_name: Annotated[str, Field(max_length=63)] | None = None
    """The Job of the last attempt."""
    attempt: int | None = None
    """How many Jobs were started for this hash."""
    started_at: Timestamp | None = None
    """When the last attempt started."""
    completed_at: Timestamp | None = None
    """When it succeeded."""
    last_error: Text | None = None
    """Why the last attempt failed, without secrets."""
    next_attempt_at: Timestamp | None = None
    """When another attempt starts, unless it is asked for before by the annotation somabrain.io/retry-migration."""
    retry_token: Annotated[str, Field(max_length=256)] | None = None
    """The value of the annotation that was last acted upon."""


class SomaBrainStatus(ApiModel):
    """What the operator saw."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""
    phase: Phase | None = None
    """A summary for people; programs read the conditions."""
    version: Annotated[str, Field(max_length=512)] | None = None
    """What all pods run: a release, or an image of another repository."""
    target_version: Annotated[str, Field(max_length=512)] | None = None
    """What the spec asks for, in the same form."""
    replicas: int | None = None
    """Pods there are."""
    ready_replicas: int | None = None
    """Pods that serve."""
    updated_replicas: int | None = None
    """Pods that run what the spec asks for."""
    selector: Annotated[str, Field(max_length=512)] | None = None
    """Selects the pods, for autoscalers."""
    endpoint: Annotated[str, Field(max_length=512)] | None = None
    """Where a gRPC client inside the cluster connects to."""
    config_hash: Annotated[str, Field(max_length=32)] | None = None
    """The hash of settings, policy and used secrets that the spec asks for."""
    migration: MigrationStatus | None = None
    """Where the migration stands."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    """The facts."""
