"""A Lease can be acquired when it is free, ours, or unchanged for its duration by our own clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from somabrain_operator.informer.watch_liveness import WatchLiveness
from somabrain_operator.leaderelection.lease import LeaseConfig, LeaseRecord, acquired, can_acquire, observe, released

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
SEAT = LeaseConfig("system", "lease", "me", 15)


def lease(holder: str, version: str = "7", **spec: Any) -> dict[str, Any]:
    lease_spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": 15,
        "leaseTransitions": 3,
        "acquireTime": "then",
        **spec,
    }
    return {"metadata": {"name": "lease", "resourceVersion": version}, "spec": lease_spec}


@pytest.mark.parametrize(
    ("holder", "after_s", "free"),
    [("", 0, True), ("me", 0, True), ("other", 0, False), ("other", 14.9, False), ("other", 15, True)],
)
def test_lease_can_be_acquired_when_free_own_or_expired(holder: str, after_s: float, free: bool) -> None:
    """Expiry is measured from when this version was first observed."""
    first = observe(lease(holder), None, 100)
    assert can_acquire(observe(lease(holder), first, 100 + after_s), "me", 100 + after_s) is free


def test_renewal_restarts_lease_duration() -> None:
    """Any change of the Lease restarts its duration, whatever times are written in it."""
    first = observe(lease("other"), None, 100)
    second = observe(lease("other", "8", renewTime="2000-01-01T00:00:00.000000Z"), first, 114)
    assert second == LeaseRecord("8", "other", 15, 114)
    assert not can_acquire(second, "me", 128)


def test_missing_lease_can_be_acquired() -> None:
    """A missing Lease can be acquired; it is created without a version, so only one of two creators succeeds."""
    assert observe(None, LeaseRecord("7", "other", 15, 100), 101) is None
    assert can_acquire(None, "me", 101)
    manifest: Any = acquired(SEAT, None, NOW)
    assert "resourceVersion" not in manifest["metadata"]
    assert manifest["spec"]["leaseTransitions"] == 0


def test_lease_takeover_increments_transitions() -> None:
    """A takeover counts a transition; a renewal does not, and retains the time of acquisition."""
    acquired_lease: Any = acquired(SEAT, lease("other"), NOW)
    assert acquired_lease["metadata"]["resourceVersion"] == "7"
    assert acquired_lease["spec"]["leaseTransitions"] == 4
    assert acquired_lease["spec"]["acquireTime"] == acquired_lease["spec"]["renewTime"] == "2026-01-02T03:04:05.000678Z"
    renewed: Any = acquired(SEAT, lease("me"), NOW)
    assert (renewed["spec"]["leaseTransitions"], renewed["spec"]["acquireTime"]) == (3, "then")


def test_released_lease_can_be_acquired_immediately() -> None:
    """A released Lease can be acquired without waiting for it to expire."""
    assert can_acquire(observe(released(SEAT, lease("me"), NOW), None, 0), "other", 0)


def test_renew_deadline_is_shorter_than_lease_duration() -> None:
    """A leader stops before another may start, even when its last renewal was answered late."""
    assert SEAT.renew_deadline_s < SEAT.lease_duration_s
    assert SEAT.renew_interval_s + SEAT.retry_period_s < SEAT.renew_deadline_s


def test_watch_liveness_measures_overdue_event() -> None:
    """A watch is overdue from a change until its event, or until the API server is known to be down."""
    now = [0.0]
    proof = WatchLiveness(lambda: now[0])
    now[0] = 100
    assert proof.overdue_s() == 0
    proof.expect_event()
    now[0] = 105
    proof.expect_event()
    assert proof.overdue_s() == 5
    proof.on_event()
    assert proof.overdue_s() == 0
    proof.expect_event()
    proof.pause()
    now[0] = 200
    assert proof.overdue_s() == 0
