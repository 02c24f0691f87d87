"""A ratio is reported with a confidence interval of its median."""

from __future__ import annotations

import random

import pytest

from bench.paired import median_interval


def test_the_interval_holds_the_true_median_about_nineteen_times_of_twenty() -> None:
    """About 95 % of the intervals contain the true median of a known distribution."""
    drawn = random.Random(7)
    intervals = [median_interval([drawn.lognormvariate(0, 0.05) for _ in range(20)]) for _ in range(60)]
    inside = sum(interval.low <= 1 <= interval.high for interval in intervals)
    assert 52 <= inside <= 60


def test_more_rounds_make_it_narrower() -> None:
    """More rounds give a narrower interval, so that a measurement ends."""
    drawn = random.Random(7)
    ratios = [drawn.lognormvariate(0, 0.05) for _ in range(400)]
    few, many = median_interval(ratios[:8]), median_interval(ratios)
    assert many.high - many.low < few.high - few.low
    assert many.within(0.03)
    assert not few.within(0.001)


def test_ratios_that_are_all_the_same_have_no_width() -> None:
    """Equal ratios give an interval of width zero, and a single ratio gives none."""
    assert (median_interval([1.02] * 8).low, median_interval([1.02] * 8).high) == (1.02, 1.02)
    with pytest.raises(ValueError, match="measure at least two rounds"):
        median_interval([1.0])
