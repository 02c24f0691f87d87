"""Ratios measured in pairs, and how far their median can be believed: the percentile bootstrap (Efron 1979)."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 10_000
SEED = 1


@dataclass(frozen=True, slots=True)
class Interval:
    """The median of paired ratios, with its 95 % interval."""

    median: float
    low: float
    high: float

    def within(self, margin: float) -> bool:
        """Whether both ends are nearer to the median than `margin`, a share of it."""
        return max(self.median - self.low, self.high - self.median) <= margin * self.median

    def __str__(self) -> str:
        return f"{self.median:.3f} (95 %: {self.low:.3f} to {self.high:.3f})"


def median_interval(ratios: Sequence[float]) -> Interval:
    """Return the median of `ratios` and the interval that holds 95 % of the medians of resamples.

    Raises:
        ValueError: fewer than two ratios say nothing about their spread.
    """
    if len(ratios) < 2:
        raise ValueError(f"{len(ratios)} ratios have no interval; measure two rounds at least")
    drawn = random.Random(SEED)
    medians = sorted(statistics.median(drawn.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    tail = RESAMPLES // 40
    return Interval(statistics.median(ratios), medians[tail], medians[-tail - 1])
