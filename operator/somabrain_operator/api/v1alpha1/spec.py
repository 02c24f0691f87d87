"""Spec of the SomaBrain resource: the desired state."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from somabrain_operator.api.v1alpha1.autoscaling import Autoscaling
from somabrain_operator.api.v1alpha1.base import (
    IMAGE_PATTERN,
    ApiModel,
    Image,
    LocalObjectReference,
    SecretSource,
    Url,
    is_url,
    rule,
    rules,
)
from somabrain_operator.api.v1alpha1.config import Auth, Config
from somabrain_operator.api.v1alpha1.database import Database
from somabrain_operator.api.v1alpha1.grpc import Grpc
from somabrain_operator.api.v1alpha1.mcp import Mcp
from somabrain_operator.api.v1alpha1.monitoring import Monitoring
from somabrain_operator.api.v1alpha1.network import NetworkPolicy
from somabrain_operator.api.v1alpha1.placement import (
    DisruptionBudget,
    PodSecurityContext,
    Probes,
    Scheduling,
    Service,
    TopologySpread,
)
from somabrain_operator.api.v1alpha1.platform import Cache, Events, FlagsConnection
from somabrain_operator.api.v1alpha1.resources import ResourceList, ResourceRequirements
from somabrain_operator.api.v1alpha1.vault import Vault

IgnoredDifference = Annotated[str, Field(max_length=512, pattern=r"^[A-Z][A-Za-z]+ (spec|data|metadata)[.\[].+$")]
_FROM_VAULT: Final = (
    "(has(self.vault) && (!has(self.vault.enabled) || self.vault.enabled) && "
    "self.vault.secrets.exists(s, s.file == '{}'))"
)
_PROVISIONED: Final = "has(self.database) && has(self.database.provision)"


def _exactly_one_source(field: str, *files: str) -> str:
    """Return a CEL expression that is true if connection strings come from the Secret of `field` or Vault, not both."""
    from_vault = [_FROM_VAULT.format(each) for each in files]
    return f"{field} ? !({' || '.join(from_vault)}) : ({' && '.join(from_vault)})"


class Migration(ApiModel):
    """Job that migrates the database to the schema of the image before the pods are updated."""

    enabled: bool = True
    """False: the database is migrated by other means, and the status says Skipped."""
    database: SecretSource | None = None
    """Secret with the key `owner-dsn`: the libpq URL of the role that owns the schema. Not set: it comes from
    `vault` or `spec.database.provision`."""
    backoff_limit: Annotated[int, Field(ge=0, le=10)] = 2
    """Retries of a Job before it fails; the operator then starts another one, with growing back-off."""
    active_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] = 1800
    """Seconds after which a running Job fails."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=60, le=604_800)] = 3600
    """Seconds for which a finished Job is retained for its logs."""
    resources: ResourceRequirements | None = None
    """Resources of the migration's container; a change starts no migration, and replaces a Job that is stuck. Not set:
    requests of 50m CPU and 128Mi, and a limit of 512Mi."""


class Policy(ApiModel):
    """Rego policy that decides each call."""

    config_map_ref: LocalObjectReference
    """A ConfigMap in the same namespace. It must have at least one key that ends in .rego; all of these are loaded and
    must define `allow` and `reasons` of `data.sb.policy`. Keys that end in .json, .yaml or .yml are loaded as data,
    from the root: `{"sb": {"limits": ...}}` is `data.sb.limits`, which the default policy reads."""


class Opa(ApiModel):
    """Open Policy Agent, which decides each call; by default a side-car of each server."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.image) || self.image.matches(r'{IMAGE_PATTERN}')",
                "spec.opa.image is not an image reference; write registry/repository:tag or "
                "registry/repository@sha256:…",
            ),
            rule(
                "has(self.enabled) && !self.enabled ? has(self.url) && !has(self.policy) : !has(self.url)",
                "spec.opa.url: set it if, and only if, spec.opa.enabled is false and spec.opa.policy is not set; it is "
                "queried instead of the side-car",
            ),
            rule(
                f"!has(self.url) || {is_url('self.url')}",
                "spec.opa.url is not an HTTP URL; write that of the decision, such as https://opa.example/v1/data/sb/policy",
            ),
        )
    )

    enabled: bool = True
    """False: there is no side-car, and `url` is queried. Each call is decided by a policy in any case."""
    url: Url | None = None
    """URL that is queried instead of the side-car."""
    image: Image | None = None
    """Image of the side-car. Not set: the one the operator was released with."""
    policy: Policy | None = None
    """Policy. Not set: a tenant must be present and, if `spec.auth.scopeClaim` is set, the scope of the method."""
    resources: ResourceRequirements = ResourceRequirements(
        requests=ResourceList(cpu="20m", memory="64Mi"), limits=ResourceList(memory="256Mi")
    )
    """Resources of the side-car."""


class SomaBrainSpec(ApiModel):
    """Memory service: its image, its database, authentication and authorization of callers, and its resources."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.image) && has(self.version))",
                "spec.image and spec.version are both set; keep spec.image for an exact image or spec.version for a "
                "release, and remove the other",
            ),
            rule(
                _exactly_one_source("has(self.database)", "SOMABRAIN_POSTGRES_DSN", "SOMABRAIN_WORKER_DSN"),
                "spec.database: name the Secret that holds app-dsn and worker-dsn in spec.database.secretRef.name, or "
                "set spec.database.provision, or have spec.vault.secrets write SOMABRAIN_POSTGRES_DSN and "
                "SOMABRAIN_WORKER_DSN, and not both",
            ),
            rule(
                f"!({_PROVISIONED}) || !(has(self.migration) && has(self.migration.database) || "
                + _FROM_VAULT.format("SOMABRAIN_OWNER_DSN")
                + ")",
                "spec.migration.database, or SOMABRAIN_OWNER_DSN from spec.vault.secrets, is set together with "
                "spec.database.provision, which makes the owner too; remove it",
            ),
            rule(
                f"{_PROVISIONED} || "
                "(has(self.migration) && has(self.migration.enabled) && !self.migration.enabled) || ("
                + _exactly_one_source("has(self.migration) && has(self.migration.database)", "SOMABRAIN_OWNER_DSN")
                + ")",
                "spec.migration.database: name the Secret that holds owner-dsn in "
                "spec.migration.database.secretRef.name, or have spec.vault.secrets write SOMABRAIN_OWNER_DSN, and not "
                "both; or set spec.migration.enabled to false",
            ),
            rule(
                "!has(self.autoscaling) || (has(self.resources) && has(self.resources.requests) && "
                "has(self.resources.requests.cpu))",
                "spec.autoscaling needs spec.resources.requests.cpu, of which its cpu is a percentage; set it",
            ),
            rule(
                f"!has(self.image) || self.image.matches(r'{IMAGE_PATTERN}')",
                "spec.image is not an image reference; write registry/repository:tag or registry/repository@sha256:…",
            ),
            rule(
                "!has(self.mcp) || (has(self.grpc) && has(self.grpc.tls)) || !has(self.mcp.tls) || "
                "!(has(self.mcp.tls.caSecretRef) || has(self.mcp.tls.clientSecretRef))",
                "spec.mcp.tls has no effect without spec.grpc.tls; remove it, or set spec.grpc.tls",
            ),
            rule(
                "!has(self.mcp) || !has(self.grpc) || !has(self.grpc.tls) || !has(self.grpc.tls.clientCa) || "
                "!self.grpc.tls.clientCa || (has(self.mcp.tls) && has(self.mcp.tls.clientSecretRef))",
                "spec.mcp.tls.clientSecretRef: name a Secret with a client certificate, which spec.grpc.tls.clientCa "
                "requires of every client",
            ),
        )
    )

    image: Image | None = None
    """Exact image of the service. Not together with `version`."""
    version: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")] | None = None
    """Release of the service. With neither this nor `image` set: that of the operator."""
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], Field(max_length=16)] = ()
    """Secrets in the same namespace with registry credentials for the images of servers and migrations."""
    replicas: Annotated[int, Field(ge=0, le=100)] = 1
    """Number of pods. 0 hibernates the service: the memories stay in the database."""
    paused: bool = False
    """True: the operator observes and reports, and changes nothing."""
    resources: ResourceRequirements = ResourceRequirements(
        requests=ResourceList(cpu="100m", memory="384Mi"), limits=ResourceList(memory="1Gi")
    )
    """Resources of a server."""
    config: Config = Config()
    """Settings of the service."""
    secret_refs: Annotated[tuple[LocalObjectReference, ...], Field(max_length=16)] = ()
    """Secrets with more settings of the service: a key with the name of an environment variable, such as
    SOMABRAIN_LOG__FORMAT, is that setting. Each key is a file in /etc/somabrain/settings, so that a setting may also
    name another key, such as a certificate. They cannot override settings of other fields."""
    config_map_refs: Annotated[tuple[LocalObjectReference, ...], Field(max_length=16)] = ()
    """ConfigMaps with more settings of the service, as in `secretRefs`."""
    grpc: Grpc = Grpc()
    """gRPC port and its TLS."""
    auth: Auth = Auth()
    """Authentication of callers."""
    database: Database | None = None
    """Source of the connection strings of the roles the service connects as. Not set: they come from `vault`."""
    migration: Migration = Migration()
    """Migration of the database."""
    mcp: Mcp | None = None
    """MCP server, in pods of its own, from the same image, which must be of version 0.2 or later. Not set: none."""
    opa: Opa = Opa()
    """Policy engine that decides each call."""
    cache: Cache | None = None
    """Redis, as a cache. Not set: no results are cached."""
    flags: FlagsConnection | None = None
    """Feature flags in etcd. Not set: every flag has its default."""
    events: Events | None = None
    """Publishing of changes to Kafka. Not set: none are published."""
    vault: Vault | None = None
    """Secrets from HashiCorp Vault. Not set: none are read from Vault."""
    service: Service = Service()
    """Service with a cluster IP."""
    autoscaling: Autoscaling | None = None
    """Autoscaling of the number of pods; `replicas` is then ignored. Not set: `replicas` pods."""
    network_policy: NetworkPolicy | None = None
    """NetworkPolicy of the servers. Not set: none."""
    pod_disruption_budget: DisruptionBudget | None = None
    """PodDisruptionBudget of the servers. Not set: none, so drains may evict all pods at once."""
    topology_spread: TopologySpread = TopologySpread()
    """Topology spread of the servers."""
    scheduling: Scheduling = Scheduling()
    """Scheduling of servers and migrations."""
    ignore_differences: Annotated[tuple[IgnoredDifference, ...], Field(max_length=32)] | None = None
    """Fields of children that an admission webhook or another controller may change, by kind and path, such as
    `Deployment spec.template.spec.containers[0].image`, with all that is below them. Their drift is neither reverted
    nor reported; an edit of this spec applies its own value once more. Not set: every drift is reverted."""
    pod_security_context: PodSecurityContext | None = None
    """User and group ids of the pods of servers and migrations. Not set: 10001 each. `{}`: the cluster assigns them, as
    OpenShift does. Where it does not, each container runs as its image's user; that of Vault's agent is root, which is
    refused."""
    monitoring: Monitoring = Monitoring()
    """Objects for Prometheus and Grafana."""
    probes: Probes = Probes()
    """Probes of a server."""
