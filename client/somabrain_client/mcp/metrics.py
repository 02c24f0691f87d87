"""The MCP server's metrics, in a separate registry. Labels have closed sets of values."""

from __future__ import annotations

from functools import partial

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

LATENCY_BUCKETS_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 5, 10)


class Metrics:
    """The series of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # would add a second series per series, unused
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        self.calls = counter(
            "somabrain_mcp_calls", "Calls of tools, by gRPC status of the memory service.", ("tool", "code")
        )
        self.call_duration = Histogram(
            "somabrain_mcp_call_seconds",
            "Duration of calls of tools, the memory service included.",
            ("tool",),
            registry=self.registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self.responses = counter("somabrain_mcp_http_responses", "HTTP responses, by status.", ("status",))
        self.requests_in_flight = gauge("somabrain_mcp_http_requests_in_flight", "HTTP requests in flight.")
        self.auth_failures = counter(
            "somabrain_auth_failures", "Requests refused because the caller is not authenticated.", ("cause",)
        )
        self.token_exchanges = counter(
            "somabrain_mcp_token_exchanges",
            "Exchanges of tokens, by outcome: exchanged, refused, failed.",
            ("outcome",),
        )
        self.dependency_up = gauge(
            "somabrain_dependency_up", "1 while it is reachable; absent where it is not configured.", ("dependency",)
        )
        self.ready = gauge("somabrain_ready", "1 while the MCP server is ready.")

    def record(self, tool: str, code: str, seconds: float) -> None:
        """Count a call of a tool."""
        self.calls.labels(tool, code).inc()
        self.call_duration.labels(tool).observe(seconds)

    def count_exchange(self, outcome: str) -> None:
        """Count an exchange of a token."""
        self.token_exchanges.labels(outcome).inc()

    def exposition(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        return generate_latest(self.registry)
