"""OpenTelemetry collector: receives OTLP over gRPC and HTTP, writes a file, and returns its spans as values."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devcluster.loopback.server_process import HOST, ServerProcess, free_ports, running, temporary_folder, tool

CONFIG = """\
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "{host}:{grpc}"}}, http: {{endpoint: "{host}:{http}"}}}}}}}}
exporters: {{file: {{path: "{file}", append: true, flush_interval: 100ms}}}}
service:
  pipelines:
    traces: {{receivers: [otlp], exporters: [file]}}
    metrics: {{receivers: [otlp], exporters: [file]}}
    logs: {{receivers: [otlp], exporters: [file]}}
"""


@dataclass(frozen=True, slots=True)
class Span:
    """One span as the collector received it."""

    name: str
    service: str
    """`service.name` of the resource."""
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for a root span."""
    kind: int
    """As in OTLP: 1 internal, 2 server, 3 client, 4 producer, 5 consumer."""
    start_ns: int
    end_ns: int
    status: int
    """0 unset, 1 ok, 2 error."""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Collector:
    """Collector that listens on loopback, and its output file."""

    grpc_endpoint: str
    http_endpoint: str
    """Base URL; OTLP's paths (`/v1/traces`) are relative to it."""
    file: Path
    """Output file: one JSON object per line, in OTLP's JSON encoding."""
    process: ServerProcess

    def spans(self) -> list[Span]:
        """Return all spans written so far; those sent within the last tenth of a second may be missing."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [span for line in lines for span in _spans(json.loads(line))]


@contextmanager
def collector() -> Iterator[Collector]:
    """Start a collector, and stop it at the end of the block. Restarted, it appends to its file.

    Raises:
        LocalError: the binary is missing; the message has the command that builds it.
        Timeout: it did not respond; the message ends with its log.
    """
    with temporary_folder("collector") as folder:
        grpc, http = free_ports(2)
        file, config = folder / "telemetry.jsonl", folder / "config.yaml"
        config.write_text(CONFIG.format(host=HOST, grpc=grpc, http=http, file=file))
        argv = [tool("otelcol"), "--config", config]
        process = ServerProcess(argv, folder / "otelcol.log", lambda: _listens(grpc) and _listens(http))
        with running(process):
            yield Collector(f"http://{HOST}:{grpc}", f"http://{HOST}:{http}", file, process)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=2).close()
    except OSError:
        return False
    return True


def _spans(telemetry: dict[str, Any]) -> Iterator[Span]:
    for resource in telemetry.get("resourceSpans", []):
        service = str(_attributes(resource["resource"]).get("service.name", ""))
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                yield Span(
                    name=span["name"],
                    service=service,
                    trace_id=span["traceId"],
                    span_id=span["spanId"],
                    parent_id=span.get("parentSpanId", ""),
                    kind=span.get("kind", 0),
                    start_ns=int(span["startTimeUnixNano"]),
                    end_ns=int(span["endTimeUnixNano"]),
                    status=span.get("status", {}).get("code", 0),
                    attributes=_attributes(span),
                )


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    """Return attributes by key, with 64-bit integers, which OTLP's JSON encodes as strings, as integers."""
    attributes = {}
    for pair in holder.get("attributes", []):
        ((kind, value),) = pair["value"].items()
        attributes[pair["key"]] = int(value) if kind == "intValue" else value
    return attributes
