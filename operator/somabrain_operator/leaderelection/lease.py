"""Decisions of leader election over the observed Lease: pure, and by the local clock only.

The rules are those of client-go's leader election: a Lease that has not changed for its own duration is free, whatever
timestamps it has, so clocks of nodes need not agree; the holder stops a third of that duration earlier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from somabrain_operator.kube import names
from somabrain_operator.kube.objects import Json, Manifest, mapping, number, text


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """The Lease, and the identity of the candidate."""

    namespace: str
    name: str
    identity: str
    """Identity of this operator, unique among those that may run at the same time."""
    lease_duration_s: int
    """Seconds after which a Lease that was not renewed is free."""
    former_namespace: str | None = None
    """Namespace of a second Lease of that name, which earlier releases know alone. None: there is no such Lease."""

    @property
    def former(self) -> LeaseConfig | None:
        """The configuration of the second Lease."""
        return replace(self, namespace=self.former_namespace, former_namespace=None) if self.former_namespace else None

    @property
    def renew_interval_s(self) -> float:
        """Seconds between renewals by the holder."""
        return self.lease_duration_s / 3

    @property
    def renew_deadline_s(self) -> float:
        """Seconds without a renewal after which the holder stops, well before another may start."""
        return self.lease_duration_s * 2 / 3

    @property
    def retry_period_s(self) -> float:
        """Seconds between attempts to acquire it."""
        return self.lease_duration_s / 15


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The Lease as first observed in one version."""

    version: str
    holder: str
    duration_s: float
    observed_at_s: float
    """Time of the observation, by the clock of this process."""


def observe(lease: Manifest | None, previous: LeaseRecord | None, now_s: float) -> LeaseRecord | None:
    """Return the record of the observed Lease, or None without a Lease; a known version keeps its first time."""
    if lease is None:
        return None
    version = text(lease, "metadata", "resourceVersion")
    if previous is not None and previous.version == version:
        return previous
    duration_s = float(number(lease, "spec", "leaseDurationSeconds"))
    return LeaseRecord(version, text(lease, "spec", "holderIdentity"), duration_s, now_s)


def can_acquire(record: LeaseRecord | None, identity: str, now_s: float) -> bool:
    """Return whether `identity` may take the Lease: it holds it already, or the Lease is free or expired."""
    if record is None or record.holder in ("", identity):
        return True
    return now_s - record.observed_at_s >= record.duration_s


def acquired(config: LeaseConfig, lease: Manifest | None, now: datetime) -> Manifest:
    """Return the Lease as held by this operator; with its version, so that of two concurrent writers one fails."""
    spec = mapping(lease, "spec")
    ours = text(spec, "holderIdentity") == config.identity
    return _lease(
        config,
        lease,
        {
            "holderIdentity": config.identity,
            "leaseDurationSeconds": config.lease_duration_s,
            "acquireTime": text(spec, "acquireTime") if ours else _micro_time(now),
            "renewTime": _micro_time(now),
            "leaseTransitions": number(spec, "leaseTransitions") + (0 if ours or lease is None else 1),
        },
    )


def released(config: LeaseConfig, lease: Manifest, now: datetime) -> Manifest:
    """Return the Lease without a holder, so that the next leader need not wait for it to expire."""
    transitions = number(lease, "spec", "leaseTransitions")
    return _lease(
        config,
        lease,
        {
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": _micro_time(now),
            "leaseTransitions": transitions,
        },
    )


def _lease(config: LeaseConfig, lease: Manifest | None, spec: dict[str, Json]) -> Manifest:
    metadata: dict[str, Json] = {"name": config.name, "namespace": config.namespace}
    if lease is not None:
        metadata["resourceVersion"] = text(lease, "metadata", "resourceVersion")
    metadata["labels"] = {"app.kubernetes.io/name": names.MANAGER, "app.kubernetes.io/part-of": "somabrain"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def _micro_time(timestamp: datetime) -> str:
    """Return `timestamp` in the format of metav1.MicroTime."""
    return timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
