"""Figures of one measurement, their medians over the rounds, and ratios between systems."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """Calls of some clients within one interval: calls a second of all together, and the median latency."""

    rate: float
    p50_ms: float

    @classmethod
    def of(cls, replies: Iterable[Mapping[str, object]], seconds: float) -> Sample:
        """Combine the replies of all clients, which ran for `seconds`.

        Raises:
            ValueError: no call was made.
        """
        completed, durations_ms = 0, []
        for reply in replies:
            match reply:
                case {"completed": int(number), "durations_ms": list(durations)}:
                    completed += number
                    durations_ms += durations
                case _:
                    raise ValueError(f"a reply has no figures: {reply}")
        if not durations_ms:
            raise ValueError("no client made a call")
        return cls(completed / seconds, statistics.median(durations_ms))


@dataclass
class Rounds:
    """One figure of several systems, measured in turns: a value for each system and round."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, system: str, value: float) -> None:
        """Add the value of the next round."""
        self.values[system].append(value)

    def median(self, system: str) -> float | None:
        """Return the median of a system's rounds; None: it was not measured."""
        return statistics.median(self.values[system]) if self.values.get(system) else None

    def ratio(self, system: str, other: str) -> float | None:
        """Return the median of the rounds' ratios of `system` to `other`; None: one of both was not measured.

        The ratio within a round, because the machine's speed changes between rounds.

        Raises:
            ValueError: the systems have different numbers of rounds.
        """
        pair: tuple[Sequence[float], Sequence[float]] = (self.values.get(system, []), self.values.get(other, []))
        if not pair[0] or not pair[1]:
            return None
        return statistics.median(value / base for value, base in zip(*pair, strict=True) if base)
