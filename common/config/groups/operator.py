"""The operator."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from common.config.groups.base import Group, Seconds


class OperatorSettings(Group):
    """The operator."""

    namespaces: tuple[str, ...] = ()
    """Kubernetes namespaces to watch. Empty: all."""
    service_repository: str = "ghcr.io/somabrain/somabrain-service"
    """Image repository of the service, for resources that set only a version."""
    service_version: str | None = None
    """Version of the service, for resources that set neither image nor version. None: the operator's own."""
    opa_image: str = "docker.io/openpolicyagent/opa:1.22.2-static"
    """Image of the policy sidecar, for resources that do not set it."""
    vault_image: str = "docker.io/hashicorp/vault:1.21.0"
    """Image of Vault's agent, for resources that do not set it."""
    provision: bool = False
    """True: databases of `spec.database.provision` are made. The operator needs rights to write Secrets and, without
    `namespaces`, to patch SomaBrains."""
    resync_period_s: Seconds = 600.0
    """Seconds after which every resource is reconciled again even without events, with jitter."""
    reference_watch: bool = True
    """True: the metadata of Secrets and ConfigMaps are watched, and referenced ones are polled only where that is not
    permitted. False: they are polled."""
    reference_poll_interval_s: Seconds = 60.0
    """Maximum seconds between reads of referenced Secrets and ConfigMaps that are polled; up to 150 of them are read
    every 5 seconds."""
    stall_after_s: Seconds = 300.0
    """Seconds for which a failure that others can end, such as a Secret that does not exist yet, is Reconciling; after
    them it is Stalled."""
    max_concurrent_reconciles: Annotated[int, Field(ge=1, le=256)] = 16
    """Maximum resources reconciled concurrently."""
    lease_name: str = "somabrain-operator"
    """Name of the Lease that operators of the same resources share: only its holder writes."""
    lease_namespace: str | None = None
    """Kubernetes namespace of the Lease: the operator's own. None: the first of `namespaces`, or `default` if that is
    empty."""
    former_lease_namespace: str | None = None
    """Kubernetes namespace of a second Lease of that name, which the leader holds too as long as the namespace exists:
    operators before 0.2 know only that one. None: no second Lease."""
    lease_duration_s: Annotated[int, Field(ge=2, le=300)] = 15
    """Seconds without renewal after which the holder has lost the Lease."""
    identity: str | None = None
    """Identity of this operator in the Lease, unique among operators: the pod's name. None: the host's name and a
    random suffix."""
