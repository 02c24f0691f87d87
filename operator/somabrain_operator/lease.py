"""Who may lead, decided over the Lease as it was seen: pure, and by our own clock only.

The rules are those of client-go's leader election: a Lease that has not changed for its own duration is free, whatever
times stand in it, so clocks of nodes need not agree; whoever holds it stops a third of that duration before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from somabrain_operator import names
from somabrain_operator.objects import Json, Manifest, mapping, number, text


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """The Lease, and who asks for it."""

    namespace: str
    name: str
    identity: str
    """Different for every operator that may run at the same time."""
    lease_duration_s: int
    """A holder that says nothing for this long has lost it."""

    @property
    def renew_interval_s(self) -> float:
        """How often it is renewed while it is held."""
        return self.lease_duration_s / 3

    @property
    def renew_deadline_s(self) -> float:
        """A holder that could not renew it for this long stops, well before another may start."""
        return self.lease_duration_s * 2 / 3

    @property
    def retry_period_s(self) -> float:
        """How often it is asked for while it is not held."""
        return self.lease_duration_s / 15


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The Lease as it was first seen in one version."""

    version: str
    holder: str
    duration_s: float
    observed_at_s: float
    """By the clock of this process."""


def observe(lease: Manifest | None, previous: LeaseRecord | None, now_s: float) -> LeaseRecord | None:
    """Return what is seen of the Lease now; a version seen before keeps the time when it was first seen."""
    if lease is None:
        return None
    version = text(lease, "metadata", "resourceVersion")
    if previous is not None and previous.version == version:
        return previous
    duration_s = float(number(lease, "spec", "leaseDurationSeconds"))
    return LeaseRecord(version, text(lease, "spec", "holderIdentity"), duration_s, now_s)


def can_acquire(record: LeaseRecord | None, identity: str, now_s: float) -> bool:
    """Return whether the Lease is ours, free, or given up by silence."""
    if record is None or record.holder in ("", identity):
        return True
    return now_s - record.observed_at_s >= record.duration_s


def acquired(config: LeaseConfig, lease: Manifest | None, now: datetime) -> Manifest:
    """Return the Lease as we hold it; with its version, so that of two who take it one fails."""
    spec = mapping(lease, "spec")
    ours = text(spec, "holderIdentity") == config.identity
    return _lease(config, lease, {
        "holderIdentity": config.identity,
        "leaseDurationSeconds": config.lease_duration_s,
        "acquireTime": text(spec, "acquireTime") if ours else _micro_time(now),
        "renewTime": _micro_time(now),
        "leaseTransitions": number(spec, "leaseTransitions") + (0 if ours or lease is None else 1),
    })  # fmt: skip


def released(config: LeaseConfig, lease: Manifest, now: datetime) -> Manifest:
    """Return the Lease as nobody holds it, so that the next need not wait for it to expire."""
    transitions = number(lease, "spec", "leaseTransitions")
    return _lease(config, lease, {
        "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_time(now), "leaseTransitions": transitions,
    })  # fmt: skip


def _lease(config: LeaseConfig, lease: Manifest | None, spec: dict[str, Json]) -> Manifest:
    metadata: dict[str, Json] = {"name": config.name, "namespace": config.namespace}
    if lease is not None:
        metadata["resourceVersion"] = text(lease, "metadata", "resourceVersion")
    metadata["labels"] = {"app.kubernetes.io/name": names.MANAGER, "app.kubernetes.io/part-of": "somabrain"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def _micro_time(timestamp: datetime) -> str:
    """Return `moment` as metav1.MicroTime has it."""
    return timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
