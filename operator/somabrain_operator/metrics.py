"""Prometheus metrics of the operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from somabrain_operator.kube.names import Key
from somabrain_operator.kube.objects import Manifest, items, text

_STATUS_VALUES: Final = {"True": 1, "False": 0}
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ConditionMetrics(Collector):
    """Collector of the latest condition statuses; the series of a deleted resource are dropped."""

    def __init__(self) -> None:
        """Start without resources."""
        self._statuses: dict[Key, dict[str, str]] = {}

    def update(self, key: Key, status: Manifest) -> None:
        """Store the condition statuses of a resource."""
        self._statuses[key] = {text(each, "type"): text(each, "status") for each in items(status, "conditions")}

    def remove(self, key: Key) -> None:
        """Drop the series of a deleted resource."""
        self._statuses.pop(key, None)

    def clear(self) -> None:
        """Drop all series: another operator reports them now."""
        self._statuses.clear()

    def collect(self) -> Iterator[Metric]:
        """Yield one family with one series per condition."""
        family = GaugeMetricFamily(
            "somabrain_operator_condition",
            "Status of a condition of a resource: 1 True, 0 False, -1 Unknown.",
            labels=["namespace", "name", "type"],
        )
        for key, conditions in self._statuses.items():
            for kind, status in conditions.items():
                family.add_metric([*key, kind], _STATUS_VALUES.get(status, -1))
        yield family


class Metrics:
    """Metrics of one process in their own registry."""

    def __init__(self) -> None:
        """Create the registry; nothing is global."""
        self.registry = CollectorRegistry()
        self.conditions = ConditionMetrics()
        self.registry.register(self.conditions)
        self.reconciles = Counter(
            "somabrain_operator_reconciles", "Reconciles per outcome.", ["outcome"], registry=self.registry
        )
        self.duration = Histogram(
            "somabrain_operator_reconcile_duration_seconds",
            "Duration of a reconcile.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.writes = Counter(
            "somabrain_operator_api_writes", "Writes to the API server.", ["kind", "verb"], registry=self.registry
        )
        self.leader = Gauge("somabrain_operator_leader", "1 while this operator leads.", registry=self.registry)
        self._depth = Gauge(
            "somabrain_operator_queue_depth", "Resources that wait or are being reconciled.", registry=self.registry
        )
        self._age = Gauge(
            "somabrain_operator_queue_oldest_seconds", "Age of the oldest key in the queue.", registry=self.registry
        )

        self._tasks = Gauge("somabrain_operator_tasks", "asyncio tasks of the event loop.", registry=self.registry)

    def count_write(self, kind: str, verb: str) -> None:
        """Count a write to the API server."""
        self.writes.labels(kind, verb).inc()

    def watch_tasks(self, count: Callable[[], float]) -> None:
        """Set the function that counts the event loop's tasks at each scrape."""
        self._tasks.set_function(count)

    def watch_queue(self, depth: Callable[[], float], age_s: Callable[[], float]) -> None:
        """Set the functions that return the queue's depth and its oldest key's age at each scrape."""
        self._depth.set_function(depth)
        self._age.set_function(age_s)

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
