"""The process's metrics, in a separate registry.

Label values come from closed sets (methods of the contract, gRPC codes, causes named in code), never from a
caller, so the number of series is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from common.utils.cache import CacheMetrics

# 1 ms to 10 s; a Recall is a few milliseconds, a deadline is seconds.
LATENCY_BUCKETS_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 5, 10)

FORMER_FAMILIES: Final[Mapping[str, str]] = {
    "somabrain_replicas": "somabrain_search_index_namespaces",
    "somabrain_replica_bytes": "somabrain_search_index_bytes",
    "somabrain_worker_rounds": "somabrain_background_job_runs",
    "somabrain_worker_seconds": "somabrain_background_job_duration_seconds",
    "somabrain_worker_rows": "somabrain_background_job_rows",
    "somabrain_worker_lag_seconds": "somabrain_background_job_lag_seconds",
    "somabrain_worker_holds": "somabrain_background_job_leader",
}
"""The present name of each family, by the one it had in 0.1; both are exposed until 0.3."""
FORMER_LABELS: Final[Mapping[str, str]] = {"job": "worker"}
"""The name of each label in former families, by its present one."""


class FormerFamilies(Collector):
    """Families once more under their former names, so that dashboards and alerts of 0.1 keep their data."""

    def __init__(self, families: Mapping[str, MetricWrapperBase]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield a copy of each family, with names and labels as they were."""
        for former, present in FORMER_FAMILIES.items():
            for family in self._families[present].collect():
                exposed = f"{present}_total" if family.type == "counter" else present
                help_text = f"Deprecated: use {exposed}; removed in 0.3. {family.documentation}"
                copy = Metric(former, help_text, family.type)
                for sample in family.samples:
                    labels = {FORMER_LABELS.get(name, name): value for name, value in sample.labels.items()}
                    copy.add_sample(sample.name.replace(present, former, 1), labels, sample.value)
                yield copy


class Metrics:
    """The series of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # would add a second series per series, unused
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry, buckets=LATENCY_BUCKETS_S)

        method_labels = ("grpc_service", "grpc_method")
        self.calls_handled = counter(
            "grpc_server_handled", "Completed calls, by status.", (*method_labels, "grpc_code")
        )
        self.call_duration = histogram("grpc_server_handling_seconds", "Duration of calls.", method_labels)
        self.calls_in_flight = gauge("grpc_server_in_flight", "Calls in flight.", method_labels)
        self.auth_failures = counter(
            "somabrain_auth_failures", "Calls refused because the caller is not authenticated.", ("cause",)
        )
        self.policy_decisions = counter(
            "somabrain_policy_decisions", "Decisions of the policy, by source: engine or cache.", ("outcome", "source")
        )
        self.policy_duration = histogram("somabrain_policy_seconds", "Duration of the policy engine's decisions.")
        self.encoder_texts = counter("somabrain_encoder_texts", "Texts given to an encoder.", ("encoder", "outcome"))
        self.encoder_duration = histogram("somabrain_encoder_seconds", "Duration of encoding.", ("encoder",))
        self.tls_reloads = counter(
            "somabrain_tls_reloads",
            "Changes of the certificate's files, by outcome: served, or refused as invalid.",
            ("outcome",),
        )
        self.tls_certificate_expiry = gauge(
            "somabrain_tls_certificate_expiry_timestamp_seconds", "Expiry of the served certificate; 0 without TLS."
        )
        self.cache = CacheMetrics(
            counter(
                "somabrain_cache_requests",
                "Look-ups in a cache (recall, query), by outcome: hit, miss, shared (another call was computing it), "
                "error, skipped (Redis is unavailable).",
                ("cache", "outcome"),
            ),
            counter("somabrain_cache_saved_seconds", "Compute seconds saved by cache hits.", ("cache",)),
        )
        self.quota_refusals = counter(
            "somabrain_quota_refusals", "Calls refused by a tenant's quota, or by the flag read_only.", ("quota",)
        )
        self.flag_changes = counter("somabrain_flag_changes", "Changes of flag values.")
        self.flag_problems = gauge(
            "somabrain_flag_problems", "Keys in etcd that name no flag or hold an invalid value."
        )
        self.dependency_up = gauge(
            "somabrain_dependency_up", "1 while it is reachable; absent where it is not configured.", ("dependency",)
        )
        self.ready = gauge("somabrain_ready", "1 while the service is ready.")
        self.store_probe_duration = gauge("somabrain_store_probe_seconds", "Duration of the last PostgreSQL probe.")
        self.store_connections = gauge("somabrain_store_connections", "Connections to PostgreSQL.", ("state",))
        self.search_index_namespaces = gauge(
            "somabrain_search_index_namespaces", "Namespaces in the in-memory search index."
        )
        self.search_index_bytes = gauge(
            "somabrain_search_index_bytes", "Approximate memory of the in-memory search index."
        )
        self.search_index_token_bytes = gauge(
            "somabrain_search_index_token_bytes", "Approximate memory of token vectors, a part of the search index."
        )
        self.search_index_failures = counter(
            "somabrain_search_index_failures", "Searches in memory that failed; PostgreSQL searched instead."
        )
        self._counted_failures = 0
        self.search_kernel = gauge(
            "somabrain_search_kernel", "1 with the native search kernel; 0: PostgreSQL answers every Recall."
        )

        self.job_runs = counter("somabrain_background_job_runs", "Runs of background jobs.", ("job", "outcome"))
        self.job_duration = histogram(
            "somabrain_background_job_duration_seconds", "Duration of background job runs.", ("job",)
        )
        self.job_rows = counter(
            "somabrain_background_job_rows", "Rows processed by background jobs: memories, changes, keys.", ("job",)
        )
        self.job_lag = gauge(
            "somabrain_background_job_lag_seconds", "Age of the oldest pending item at the last run.", ("job", "shard")
        )
        self.job_leader = gauge(
            "somabrain_background_job_leader", "1 while this process runs the job for the shard.", ("job", "shard")
        )

        self.events_published = counter("somabrain_events_published", "Events acknowledged by Kafka.")
        self.events_lost = counter("somabrain_events_lost", "Changes removed from the feed before Kafka had them.")

        renamed = (
            self.search_index_namespaces,
            self.search_index_bytes,
            self.job_runs,
            self.job_duration,
            self.job_rows,
            self.job_lag,
            self.job_leader,
        )
        self.registry.register(FormerFamilies(dict(zip(FORMER_FAMILIES.values(), renamed, strict=True))))

    def record_store(self, connections: tuple[int, int], index_stats: tuple[int, int, int, int]) -> None:
        """Record the pool's idle and used connections, and the state of the search index (`IndexStats`)."""
        idle, in_use = connections
        self.store_connections.labels("idle").set(idle)
        self.store_connections.labels("in_use").set(in_use)
        namespaces, size_bytes, token_bytes, failures = index_stats
        self.search_index_namespaces.set(namespaces)
        self.search_index_bytes.set(size_bytes)
        self.search_index_token_bytes.set(token_bytes)
        self.search_index_failures.inc(failures - self._counted_failures)
        self._counted_failures = failures

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
