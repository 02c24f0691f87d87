"""Median of ratios measured in pairs, with its confidence interval by the percentile bootstrap (Efron 1979)."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 10_000
SEED = 1


@dataclass(frozen=True, slots=True)
class Interval:
    """Median of paired ratios, with its 95 % confidence interval."""

    median: float
    low: float
    high: float

    def within(self, margin: float) -> bool:
        """Return whether both ends differ from the median by at most `margin`, a share of the median."""
        return max(self.median - self.low, self.high - self.median) <= margin * self.median

    def __str__(self) -> str:
        return f"{self.median:.3f} (95 %: {self.low:.3f} to {self.high:.3f})"


def median_interval(ratios: Sequence[float]) -> Interval:
    """Return the median of `ratios` and the interval that contains 95 % of the medians of resamples.

    Raises:
        ValueError: fewer than two ratios have no spread.
    """
    if len(ratios) < 2:
        raise ValueError(f"{len(ratios)} ratios have no interval; measure at least two rounds")
    drawn = random.Random(SEED)
    medians = sorted(statistics.median(drawn.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    tail = RESAMPLES // 40
    return Interval(statistics.median(ratios), medians[tail], medians[-tail - 1])
