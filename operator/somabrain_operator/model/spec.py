"""What an admin asks for."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from somabrain_operator.model.base import LocalReference, Part, SecretReference, rule, rules
from somabrain_operator.model.config import Auth, Config
from somabrain_operator.model.network import NetworkPolicy
from somabrain_operator.model.placement import DisruptionBudget, Probes, Scheduling, Service, TopologySpread
from somabrain_operator.model.pods import Amounts, Resources
from somabrain_operator.model.scaling import Autoscaling

IMAGE_PATTERN: Final = (
    r"^[a-z0-9]+([._-][a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$"
)
"""An image reference as distribution/reference has it, lower-case hosts only."""

Image = Annotated[str, Field(min_length=1, max_length=512)]


class Migration(Part):
    """The Job that brings the database to the schema of the image before the pods change."""

    enabled: bool = True
    """Off: the database is migrated by somebody else, and the status says Skipped."""
    database: SecretReference | None = None
    """Its Secret holds the key `owner-dsn`: the libpq URL of the role that owns the schema."""
    backoff_limit: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a Job tries again before it counts as failed; the operator then starts another, ever later."""
    active_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] = 1800
    """After this a Job counts as failed."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=60, le=604_800)] = 3600
    """How long a finished Job is kept for its logs."""


class Policy(Part):
    """Which rules decide each call."""

    config_map_ref: LocalReference
    """A ConfigMap in the same namespace; each of its keys that ends in .rego is loaded. It must answer
    `data.sb.policy` with `allow` and `reasons`."""


class Opa(Part):
    """The Open Policy Agent beside each server."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.image) || self.image.matches(r'{IMAGE_PATTERN}')",
                "spec.opa.image is no image reference; write registry/repository:tag or registry/repository@sha256:…",
            )
        )
    )

    image: Image | None = None
    """Its image. Not set: the one the operator was released with."""
    policy: Policy | None = None
    """Not set: a tenant must be present and, where `spec.auth.scopeClaim` is set, the scope of the method."""
    resources: Resources = Resources(requests=Amounts(cpu="20m", memory="64Mi"), limits=Amounts(memory="256Mi"))
    """What the agent may use."""


class SomaBrainSpec(Part):
    """A memory service: its image, its database, who may call it, and what it may use."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.image) && has(self.version))",
                "spec.image and spec.version are both set; keep spec.image for an exact image or spec.version for a "
                "release, and remove the other",
            ),
            rule(
                "has(self.migration) && (has(self.migration.database) || "
                "(has(self.migration.enabled) && !self.migration.enabled))",
                "spec.migration.database is missing; name the Secret that holds owner-dsn in "
                "spec.migration.database.secretRef.name, or set spec.migration.enabled to false",
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
    replicas: Annotated[int, Field(ge=0, le=100)] = 1
    """How many pods serve. 0 hibernates: the memories stay in the database."""
    paused: bool = False
    """On: the operator looks and reports, and changes nothing."""
    resources: Resources = Resources(requests=Amounts(cpu="100m", memory="384Mi"), limits=Amounts(memory="1Gi"))
    """What a server may use."""
    config: Config = Config()
    """Settings of the service."""
    auth: Auth = Auth()
    """Who may call."""
    database: SecretReference
    """Its Secret holds the keys `app-dsn` and `worker-dsn`: the libpq URLs of the roles the service connects as."""
    migration: Migration = Migration()
    """How the database is migrated."""
    opa: Opa = Opa()
    """What decides each call."""
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
    probes: Probes = Probes()
    """How patient the kubelet is with a server."""
