"""What an admin asks for."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from somabrain_operator.model.autoscaling import Autoscaling
from somabrain_operator.model.base import (
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
from somabrain_operator.model.config import Auth, Config
from somabrain_operator.model.grpc import Grpc
from somabrain_operator.model.monitoring import Monitoring
from somabrain_operator.model.network import NetworkPolicy
from somabrain_operator.model.placement import DisruptionBudget, Probes, Scheduling, Service, TopologySpread
from somabrain_operator.model.platform import Cache, Events, Flags
from somabrain_operator.model.resources import ResourceList, ResourceRequirements
from somabrain_operator.model.vault import Vault

_FROM_VAULT: Final = (
    "(has(self.vault) && (!has(self.vault.enabled) || self.vault.enabled) && "
    "self.vault.secrets.exists(s, s.file == '{}'))"
)


def _exactly_one_source(field: str, *files: str) -> str:
    """Return a CEL expression: connection strings come from the Secret of `field` or from Vault, not from both."""
    from_vault = [_FROM_VAULT.format(each) for each in files]
    return f"{field} ? !({' || '.join(from_vault)}) : ({' && '.join(from_vault)})"


class Migration(ApiModel):
    """The Job that brings the database to the schema of the image before the pods change."""

    enabled: bool = True
    """Off: the database is migrated by somebody else, and the status says Skipped."""
    database: SecretSource | None = None
    """Its Secret holds the key `owner-dsn`: the libpq URL of the role that owns the schema. Not set: it comes from
    `vault`."""
    backoff_limit: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a Job tries again before it counts as failed; the operator then starts another, ever later."""
    active_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] = 1800
    """After this a Job counts as failed."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=60, le=604_800)] = 3600
    """How long a finished Job is kept for its logs."""


class Policy(ApiModel):
    """Which rules decide each call."""

    config_map_ref: LocalObjectReference
    """A ConfigMap in the same namespace; each of its keys that ends in .rego is loaded, and must be
    there: they answer `data.sb.policy` with `allow` and `reasons`. Keys that end in .json, .yaml or .yml are loaded as
    data, from the root: `{"sb": {"limits": ...}}` is `data.sb.limits`, which the default policy reads."""


class Opa(ApiModel):
    """The Open Policy Agent beside each server."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.image) || self.image.matches(r'{IMAGE_PATTERN}')",
                "spec.opa.image is no image reference; write registry/repository:tag or registry/repository@sha256:…",
            ),
            rule(
                "has(self.enabled) && !self.enabled ? has(self.url) && !has(self.policy) : !has(self.url)",
                "spec.opa.url: give it if, and only if, spec.opa.enabled is false and no policy is named; it says who "
                "decides instead of the side-car",
            ),
            rule(
                f"!has(self.url) || {is_url('self.url')}",
                "spec.opa.url is no URL; write where the decision is asked, such as https://opa.example/v1/data/sb/policy",
            ),
        )
    )

    enabled: bool = True
    """Off: there is no side-car, and `url` is asked. Calls are decided in any case."""
    url: Url | None = None
    """Who decides instead of the side-car."""
    image: Image | None = None
    """Its image. Not set: the one the operator was released with."""
    policy: Policy | None = None
    """Not set: a tenant must be present and, where `spec.auth.scopeClaim` is set, the scope of the method."""
    resources: ResourceRequirements = ResourceRequirements(
        requests=ResourceList(cpu="20m", memory="64Mi"), limits=ResourceList(memory="256Mi")
    )
    """What the agent may use."""


class SomaBrainSpec(ApiModel):
    """A memory service: its image, its database, who may call it, and what it may use."""

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
                "have spec.vault.secrets write SOMABRAIN_POSTGRES_DSN and SOMABRAIN_WORKER_DSN, and not both",
            ),
            rule(
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
                "spec.autoscaling needs spec.resources.requests.cpu, of which it takes its percentage; set it",
            ),
            rule(
                f"!has(self.image) || self.image.matches(r'{IMAGE_PATTERN}')",
                "spec.image is no image reference; write registry/repository:tag or registry/repository@sha256:…",
            ),
        )
    )

    image: Image | None = None
    """The exact image of the service. Not together with `version`."""
    version: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")] | None = None
    """The release of the service. Neither this nor `image`: the operator's own."""
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], Field(max_length=16)] = ()
    """Secrets in the same namespace with which nodes pull the images of servers and migrations."""
    replicas: Annotated[int, Field(ge=0, le=100)] = 1
    """How many pods serve. 0 hibernates: the memories stay in the database."""
    paused: bool = False
    """On: the operator looks and reports, and changes nothing."""
    resources: ResourceRequirements = ResourceRequirements(
        requests=ResourceList(cpu="100m", memory="384Mi"), limits=ResourceList(memory="1Gi")
    )
    """What a server may use."""
    config: Config = Config()
    """Settings of the service."""
    secret_refs: Annotated[tuple[LocalObjectReference, ...], Field(max_length=16)] = ()
    """Secrets whose keys are more settings of the service: a key called as its variable is, such as
    SOMABRAIN_LOG__FORMAT, is that setting. Each key is a file in /etc/somabrain/settings, so that a setting may also
    name another key, such as a certificate. What other fields set they cannot set."""
    config_map_refs: Annotated[tuple[LocalObjectReference, ...], Field(max_length=16)] = ()
    """The same of ConfigMaps."""
    grpc: Grpc = Grpc()
    """How calls come in."""
    auth: Auth = Auth()
    """Who may call."""
    database: SecretSource | None = None
    """Its Secret holds the keys `app-dsn` and `worker-dsn`: the libpq URLs of the roles the service connects as. Not
    set: they come from `vault`."""
    migration: Migration = Migration()
    """How the database is migrated."""
    opa: Opa = Opa()
    """What decides each call."""
    cache: Cache | None = None
    """Redis. Not set: no result is kept."""
    flags: Flags | None = None
    """Flags in etcd. Not set: every flag has its default."""
    events: Events | None = None
    """Changes told to Kafka. Not set: nobody is told."""
    vault: Vault | None = None
    """Secrets from HashiCorp Vault. Not set: none are read there."""
    service: Service = Service()
    """The Service with an address of its own."""
    autoscaling: Autoscaling | None = None
    """How many pods serve, by their load; `replicas` is then not used. Not set: `replicas`."""
    network_policy: NetworkPolicy | None = None
    """Who reaches the servers. Not set: whoever the cluster lets through."""
    pod_disruption_budget: DisruptionBudget | None = None
    """How many servers drains may take away at once. Not set: no bound."""
    topology_spread: TopologySpread = TopologySpread()
    """How servers are spread over the cluster."""
    scheduling: Scheduling = Scheduling()
    """On which nodes servers and migrations run."""
    monitoring: Monitoring = Monitoring()
    """What Prometheus and Grafana are given."""
    probes: Probes = Probes()
    """How patient the kubelet is with a server."""
