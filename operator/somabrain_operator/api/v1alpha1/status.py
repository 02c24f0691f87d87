"""Status of the SomaBrain resource: observations only, each with the generation of the spec that it is about."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from somabrain_operator.api.v1alpha1.base import ApiModel

Text = Annotated[str, Field(max_length=1024)]
Timestamp = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]

ConditionType: TypeAlias = Literal[
    "Ready",
    "ConfigValid",
    "ReferencesResolved",
    "Provisioned",
    "Migrated",
    "Available",
    "McpAvailable",
    "Progressing",
    "Degraded",
    "Paused",
    "Reconciling",
    "Stalled",
]
"""In the order of the status; McpAvailable is there with `spec.mcp` only. `kubectl sb` has the same list
(client/somabrain_client/kubectl/status_tree.py)."""
ConditionStatus: TypeAlias = Literal["True", "False", "Unknown"]
Phase: TypeAlias = Literal[
    "Paused", "Invalid", "Waiting", "Provisioning", "Migrating", "RollingOut", "Ready", "Degraded", "Hibernated"
]


class Condition(ApiModel):
    """Condition as in the Kubernetes API conventions: a reason for programs and a sentence for people."""

    type: ConditionType
    """Type of the condition."""
    status: ConditionStatus
    """Status of the condition. Unknown: it was not checked, and the message says why."""
    reason: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """Cause as one CamelCase word."""
    message: Annotated[str, Field(max_length=4096)]
    """Cause as a sentence, with the field and the remedy if something is wrong."""
    observed_generation: int
    """Generation of the spec that the condition is about."""
    last_transition_time: Timestamp
    """Time of the last change of `status`."""


class MigrationStatus(ApiModel):
    """State of the migration."""

    hash: Annotated[str, Field(max_length=32)] | None = None
    """Hash of what the migration depends on: image, command and the owner's secret."""
    job_name: Annotated[str, Field(max_length=63)] | None = None
    """Name of the Job of the last attempt."""
    attempt: int | None = None
    """Number of Jobs started for this hash."""
    started_at: Timestamp | None = None
    """Start time of the last attempt."""
    completed_at: Timestamp | None = None
    """Time at which the migration succeeded."""
    last_error: Text | None = None
    """Error of the last attempt, without secrets."""
    next_attempt_at: Timestamp | None = None
    """Time of the next attempt, unless the annotation somabrain.io/retry-migration requests one before."""
    retry_token: Annotated[str, Field(max_length=256)] | None = None
    """Value of that annotation when it last started an attempt."""


class ProvisionStatus(MigrationStatus):
    """State of the database of `spec.database.provision`."""

    hash: Annotated[str, Field(max_length=32)] | None = None
    """Hash of the database and the roles as they must be."""
    completed_at: Timestamp | None = None
    """Time at which they were made so."""
    next_attempt_at: Timestamp | None = None
    """Time of the next attempt, unless the annotation somabrain.io/retry-provision or another administrator's Secret
    requests one before."""
    retry_token: Annotated[str, Field(max_length=512)] | None = None
    """Value of that annotation, and a hash of that Secret, when they last started an attempt."""
    database: Annotated[str, Field(max_length=63)] | None = None
    """Name of the database."""
    login: int | None = None
    """Number of the login whose connection strings the Secret has."""


class SomaBrainStatus(ApiModel):
    """Observed state of a SomaBrain."""

    observed_generation: int | None = None
    """Generation of the spec that this status is about."""
    phase: Phase | None = None
    """Summary for people; programs should read the conditions."""
    version: Annotated[str, Field(max_length=512)] | None = None
    """Version that all pods run: a release, or an image of another repository."""
    target_version: Annotated[str, Field(max_length=512)] | None = None
    """Version of the spec, in the same form."""
    replicas: int | None = None
    """Number of pods."""
    ready_replicas: int | None = None
    """Number of ready pods."""
    updated_replicas: int | None = None
    """Number of pods that are up to date with the spec."""
    selector: Annotated[str, Field(max_length=512)] | None = None
    """Label selector of the pods, for autoscalers."""
    endpoint: Annotated[str, Field(max_length=512)] | None = None
    """Target for gRPC clients inside the cluster."""
    mcp_endpoint: Annotated[str, Field(max_length=1024)] | None = None
    """URL of the MCP endpoint inside the cluster; not set without `spec.mcp`."""
    config_hash: Annotated[str, Field(max_length=32)] | None = None
    """Hash of all that a server reads only at startup: settings, policy, spec.vault.version, Secrets and ConfigMaps."""
    last_applied_hash: Annotated[str, Field(max_length=32)] | None = None
    """Hash of the ConfigMap NAME-applied as the operator wrote it: another content is not applied."""
    migration: MigrationStatus | None = None
    """State of the migration."""
    provision: ProvisionStatus | None = None
    """State of the database, if `spec.database.provision` is set."""
    failing_since: Timestamp | None = None
    """Time of the first failure since this generation was observed or was last Ready."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    """Conditions of the SomaBrain."""
