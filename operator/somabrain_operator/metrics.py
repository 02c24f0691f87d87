"""What the operator counts, for /metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One registry of one process."""

    def __init__(self) -> None:
        """Make the registry; nothing is global."""
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "somabrain_operator_reconciles", "Reconciles by outcome.", ["outcome"], registry=self.registry
        )
        self.duration = Histogram(
            "somabrain_operator_reconcile_duration_seconds", "Time a reconcile took.",
            buckets=_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.writes = Counter(
            "somabrain_operator_api_writes", "Writes to the API server.", ["kind", "verb"], registry=self.registry
        )
        self._depth = Gauge("somabrain_operator_queue_depth", "Resources that wait or are worked on.",
                            registry=self.registry)  # fmt: skip
        self._age = Gauge("somabrain_operator_queue_oldest_seconds", "Age of the oldest key in the queue.",
                          registry=self.registry)  # fmt: skip

    def watch_queue(self, depth: Callable[[], float], age_s: Callable[[], float]) -> None:
        """Read the queue whenever the metrics are read."""
        self._depth.set_function(depth)
        self._age.set_function(age_s)

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
