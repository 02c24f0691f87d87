"""The delays between retries grow, are bounded, and spread over their jitter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.aio.backoff import Backoff

BACKOFF = Backoff(initial_s=1, cap_s=60)


def test_delay_doubles_up_to_cap() -> None:
    assert [BACKOFF.delay_s(attempt) for attempt in (1, 2, 3, 6, 7, 10_000)] == [1, 2, 4, 32, 60, 60]


def test_delay_grows_by_custom_factor() -> None:
    assert [Backoff(0.5, factor=3).delay_s(attempt) for attempt in (1, 2, 3)] == [0.5, 1.5, 4.5]
    assert Backoff(0.5, factor=1.01, cap_s=100).delay_s(200) == 0.5 * 1.01**199


def test_delay_is_uncapped_by_default() -> None:
    assert Backoff(0.1).delay_s(11) == 0.1 * 1024


@pytest.mark.parametrize(("fraction", "delay_s"), [(0.0, 3.0), (0.5, 6.0), (1.0, 9.0)])
def test_jitter_scales_delay_between_its_bounds(fraction: float, delay_s: float) -> None:
    assert Backoff(6, jitter=(0.5, 1.5)).delay_s(1, fraction) == delay_s


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(1, 10))
def test_delay_is_bounded_and_monotonic(attempt: int, fraction: float, factor: float) -> None:
    backoff = Backoff(initial_s=1, factor=factor, cap_s=60)
    assert 0.5 <= backoff.delay_s(attempt, fraction) <= 60
    assert backoff.delay_s(attempt, fraction) <= backoff.delay_s(attempt + 1, fraction)
