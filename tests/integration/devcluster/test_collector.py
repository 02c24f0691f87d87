"""The tests' collector receives spans over HTTP, returns them, and continues after a restart."""

from __future__ import annotations

import json
import urllib.request
from urllib.error import URLError

import pytest

from devcluster import shell
from devcluster.loopback import Collector, collector


def send(server: Collector, span_id: str) -> None:
    """Send one span by OTLP over HTTP."""
    span = {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": span_id,
        "parentSpanId": "b7ad6b7169203331",
        "name": "recall",
        "kind": 2,
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "3",
        "status": {"code": 1},
        "attributes": [{"key": "found", "value": {"intValue": "7"}}],
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "sb"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
    request = urllib.request.Request(
        f"{server.http_endpoint}/v1/traces", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as response:
        assert response.status == 200


def test_collector_returns_received_spans_and_survives_restart() -> None:
    """A collector returns the spans sent before and after a restart at the same address; stopped, it refuses them."""
    with collector() as server:
        send(server, "00f067aa0ba902b7")
        shell.wait_until(lambda: len(server.spans()) == 1, what="No span was written", timeout_s=30)
        (span,) = server.spans()
        assert (span.name, span.service, span.kind, span.parent_id) == ("recall", "sb", 2, "b7ad6b7169203331")
        assert (span.end_ns - span.start_ns, span.status, span.attributes) == (2, 1, {"found": 7})
        server.process.stop()
        with pytest.raises(URLError, match="refused"):
            send(server, "00f067aa0ba902b8")
        server.process.start()
        send(server, "00f067aa0ba902b9")
        shell.wait_until(lambda: len(server.spans()) == 2, what="No second span was written", timeout_s=30)
