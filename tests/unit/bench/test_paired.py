"""A ratio is reported with a confidence interval of its median."""

from __future__ import annotations

import random

import pytest

from bench.paired import median_interval


def test_median_interval_has_95_percent_coverage() -> None:
    """About 95 % of the intervals contain the true median of a known distribution."""
    drawn = random.Random(7)
    intervals = [median_interval([drawn.lognormvariate(0, 0.05) for _ in range(20)]) for _ in range(60)]
    inside = sum(interval.low <= 1 <= interval.high for interval in intervals)
    assert 52 <= inside <= 60


def test_median_interval_narrows_with_more_rounds() -> None:
    """More rounds give a narrower interval, so that a measurement ends."""
    drawn = random.Random(7)
    ratios = [drawn.lognormvariate(0, 0.05) for _ in range(400)]
    few, many = median_interval(ratios[:8]), median_interval(ratios)
    assert many.high - many.low < few.high - few.low
    assert many.within(0.03)
    assert not few.within(0.001)


def test_median_interval_of_equal_ratios_has_zero_width() -> None:
    """Equal ratios give an interval of width zero, and a single ratio is an error."""
    assert (median_interval([1.02] * 8).low, median_interval([1.02] * 8).high) == (1.02, 1.02)
    with pytest.raises(ValueError, match="measure at least two rounds"):
        median_interval([1.0])
