"""What the process counts, in a registry of its own.

Label values come from closed sets (methods of the contract, gRPC codes, causes named in code), never from a
caller, so the number of series is bounded.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

from common.utils.cache import CacheMetrics

# 1 ms to 10 s; a Recall is a few milliseconds, a deadline is seconds.
LATENCY_BUCKETS_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 5, 10)


class Metrics:
    """The series of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, that nobody asks for
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        method_labels = ("grpc_service", "grpc_method")
        self.calls_handled = Counter(
            "grpc_server_handled", "Calls ended, by status.", (*method_labels, "grpc_code"), registry=self.registry
        )
        self.call_duration = Histogram(
            "grpc_server_handling_seconds",
            "How long calls took.",
            method_labels,
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.calls_in_flight = Gauge(
            "grpc_server_in_flight", "Calls being handled.", method_labels, registry=self.registry
        )
        self.auth_failures = Counter(
            "somabrain_auth_failures", "Calls refused because the caller is not known.", ("cause",),
            registry=self.registry,
        )  # fmt: skip
        self.policy_decisions = Counter(
            "somabrain_policy_decisions", "Answers of the policy, and where they came from.", ("outcome", "source"),
            registry=self.registry,
        )  # fmt: skip
        self.policy_duration = Histogram(
            "somabrain_policy_seconds", "How long the policy engine took to decide.", buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )  # fmt: skip
        self.encoder_texts = Counter(
            "somabrain_encoder_texts", "Texts given to an encoder.", ("encoder", "outcome"), registry=self.registry
        )
        self.encoder_duration = Histogram(
            "somabrain_encoder_seconds", "How long encoding took.", ("encoder",), buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )  # fmt: skip
        self.tls_reloads = Counter(
            "somabrain_tls_reloads", "Changes of the certificate's files: served, or refused because they do not fit.",
            ("outcome",), registry=self.registry,
        )  # fmt: skip
        self.tls_certificate_expiry = Gauge(
            "somabrain_tls_certificate_expiry_timestamp_seconds", "When the certificate in force ends; 0 without TLS.",
            registry=self.registry,
        )  # fmt: skip
        self.cache = CacheMetrics(
            Counter(
                "somabrain_cache_requests",
                "Values asked of a cache (recall, query), by what became of it: hit, miss, shared (another call was "
                "making it), error, skipped (Redis is lost).", ("cache", "outcome"), registry=self.registry,
            ),
            Counter(
                "somabrain_cache_saved_seconds", "What it would have taken to make the values that were there.",
                ("cache",), registry=self.registry,
            ),
        )  # fmt: skip
        self.quota_refusals = Counter(
            "somabrain_quota_refusals", "Calls refused by a tenant's quota, or by the flag read_only.", ("quota",),
            registry=self.registry,
        )  # fmt: skip
        self.flag_changes = Counter(
            "somabrain_flag_changes", "Times that flags took other values.", registry=self.registry
        )
        self.flag_problems = Gauge(
            "somabrain_flag_problems", "Keys in etcd that say nothing, or no value that a flag can take.",
            registry=self.registry,
        )  # fmt: skip
        self.dependency_up = Gauge(
            "somabrain_dependency_up", "1 while it answers; absent where it is not configured.", ("dependency",),
            registry=self.registry,
        )  # fmt: skip
        self.ready = Gauge("somabrain_ready", "1 while the service is ready.", registry=self.registry)
        self.store_probe_duration = Gauge(
            "somabrain_store_probe_seconds", "How long PostgreSQL took to answer the last probe.",
            registry=self.registry,
        )  # fmt: skip
        self.store_connections = Gauge(
            "somabrain_store_connections", "Connections to PostgreSQL.", ("state",), registry=self.registry
        )
        self.search_index_namespaces = Gauge("somabrain_replicas", "Namespaces held in memory.", registry=self.registry)
        self.search_index_bytes = Gauge(
            "somabrain_replica_bytes", "What namespaces held in memory take, about.", registry=self.registry
        )

        job_labels = ("worker", "shard")
        self.job_runs = Counter(
            "somabrain_worker_rounds", "Rounds of background work, by how they ended.", ("worker", "outcome"),
            registry=self.registry,
        )  # fmt: skip
        self.job_duration = Histogram(
            "somabrain_worker_seconds", "How long a round of background work took.", ("worker",), buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )  # fmt: skip
        self.job_rows = Counter(
            "somabrain_worker_rows", "What background work has dealt with: memories, changes, keys.", ("worker",),
            registry=self.registry,
        )  # fmt: skip
        self.job_lag = Gauge(
            "somabrain_worker_lag_seconds", "For how long the oldest had waited that the last round found.", job_labels,
            registry=self.registry,
        )  # fmt: skip
        self.job_leader = Gauge(
            "somabrain_worker_holds", "1 while this process is the one that does this work in this shard.", job_labels,
            registry=self.registry,
        )  # fmt: skip

        self.events_published = Counter(
            "somabrain_events_published", "Events that Kafka has kept.", registry=self.registry
        )
        self.events_lost = Counter(
            "somabrain_events_lost", "Changes removed from the feed before Kafka had taken them.",
            registry=self.registry,
        )  # fmt: skip

    def record_store(self, connections: tuple[int, int], index_stats: tuple[int, int]) -> None:
        """Note the state of the pool of connections, idle and in use, and the namespaces in memory with their bytes."""
        self.store_connections.labels("idle").set(connections[0])
        self.store_connections.labels("in_use").set(connections[1])
        self.search_index_namespaces.set(index_stats[0])
        self.search_index_bytes.set(index_stats[1])

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
