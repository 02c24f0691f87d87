"""The database's clock as measured by a process: within the bounds of each reading, corrected no more than needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import StoreUnavailable
from somabrain_service.domain.database_clock import DatabaseClock

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass
class Host:
    """A host whose monotonic clock reads `at_s`, and whose wall clock is `ahead_s` ahead of the database's."""

    at_s: float = 1000.0
    ahead_s: float = 0.0

    def clock(self) -> DatabaseClock:
        return DatabaseClock(lambda: self.at_s, lambda: self.database_time().timestamp() + self.ahead_s)

    def database_time(self) -> datetime:
        return START + timedelta(seconds=self.at_s)

    def read(self, clock: DatabaseClock, out_s: float, back_s: float, *, set_by_s: float = 0.0) -> timedelta:
        """Read the database's clock: the query takes `out_s`, the answer `back_s`."""
        sent_s = self.at_s
        answer = self.database_time() + timedelta(seconds=out_s + set_by_s)
        self.at_s += out_s + back_s
        return clock.record(sent_s, answer, self.at_s)


def test_now_before_first_reading_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="has not been read yet; try again"):
        Host().clock().now()


def test_first_reading_subtracts_half_round_trip() -> None:
    """Half of the round trip is subtracted, so symmetric latencies leave no error."""
    host = Host(ahead_s=90)
    clock = host.clock()
    assert host.read(clock, 0.2, 0.2) == timedelta(0)
    assert abs(clock.now() - host.database_time()) <= MICROSECOND
    host.at_s += 3600
    assert abs(clock.now() - host.database_time()) <= MICROSECOND


def test_wall_clock_change_has_no_effect() -> None:
    host = Host()
    clock = host.clock()
    host.read(clock, 0.001, 0.001)
    host.ahead_s = -86400
    assert abs(clock.now() - host.database_time()) <= MICROSECOND


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=20))
def test_error_is_bounded_by_shortest_round_trip(ways: list[tuple[float, float]]) -> None:
    """One short round trip bounds the error permanently, however slow or asymmetric the others are."""
    host = Host()
    clock = host.clock()
    for out_s, back_s in ways:
        host.read(clock, out_s, back_s)
        host.at_s += 1
    quickest = timedelta(seconds=min(out_s + back_s for out_s, back_s in ways))
    assert abs(clock.now() - host.database_time()) <= quickest + 10 * MICROSECOND


@given(
    st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(-10, 10)), min_size=1, max_size=20),
)
def test_time_jumps_only_by_returned_correction(readings: list[tuple[float, float, float]]) -> None:
    """Between two readings time advances as the host's monotonic clock does, less the correction that is returned."""
    host = Host()
    clock = host.clock()
    host.read(clock, 0.001, 0.001)
    for out_s, back_s, set_by_s in readings:
        before, at_s = clock.now(), host.at_s
        correction = host.read(clock, out_s, back_s, set_by_s=set_by_s)
        advanced = timedelta(seconds=host.at_s - at_s)
        assert abs(clock.now() - before - advanced - correction) <= 10 * MICROSECOND


@pytest.mark.parametrize("set_by_s", [3600.0, -3600.0])
def test_clock_jump_after_failover_is_followed_immediately(set_by_s: float) -> None:
    host = Host()
    clock = host.clock()
    host.read(clock, 0.001, 0.001)
    correction = host.read(clock, 0.001, 0.001, set_by_s=set_by_s)
    assert abs(correction.total_seconds() - set_by_s) < 0.01
    assert abs((clock.now() - host.database_time()).total_seconds() - set_by_s) < 0.01


@pytest.mark.parametrize(
    ("ahead_s", "expected"), [(0.0, ""), (0.9, ""), (-0.9, ""), (90.0, "90.0 s ahead of"), (-1.5, "1.5 s behind")]
)
def test_wall_clock_difference_over_a_second_is_explained(ahead_s: float, expected: str) -> None:
    """The message has the difference, its direction, the uses of each clock, and the remedy."""
    host = Host(ahead_s=ahead_s)
    clock = host.clock()
    host.read(clock, 0.001, 0.001)
    sentence = clock.explain_difference()
    if not expected:
        assert sentence == ""
    else:
        assert sentence.startswith(f"This process' clock is {expected} PostgreSQL's.")
        assert "bearer tokens" in sentence
        assert sentence.endswith("by NTP.")
