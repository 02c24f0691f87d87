"""Traces of real calls, in a real collector."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import grpc.aio
import pytest
from aiohttp import web

from common.auth.jwks import MIN_REFRESH_INTERVAL_S
from devcluster import shell
from devcluster.loopback import Collector, Span, collector
from somabrain.memory.v1 import memory_service_pb2, memory_service_pb2_grpc
from somabrain_client import MemoryClient
from somabrain_client.errors import NotFoundError
from tests.integration.service.answering import serving
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess, service

QUESTION = "Where did the cartographer hide the astrolabe?"
TEXT = "The cartographer hid the astrolabe under the floor of the mill."
RECALL = "somabrain.memory.v1.MemoryService/Recall"


@pytest.fixture(scope="module")
def telemetry() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(folder: Path, settings: dict[str, object], telemetry: Collector) -> Iterator[ServiceProcess]:
    """A service that traces everything and has a sentence encoder."""
    own = {
        "trace__endpoint": telemetry.http_endpoint,
        "trace__sample_ratio": 1,
        "encoder__kind": "minilm-l6-v2-int8",
    }
    with service(folder, {**settings, **own}) as running:
        running.wait_until_ready()
        yield running


def lines(spans: Sequence[Span], parent: str, depth: int = 0) -> Iterator[str]:
    """The tree under a parent, in order of time."""
    for span in sorted(spans, key=lambda span: span.start_ns):
        if span.parent_id == parent:
            yield f"{'  ' * depth}{span.name} {(span.end_ns - span.start_ns) / 1e6:.1f} ms"
            yield from lines(spans, span.span_id, depth + 1)


async def recall(address: str, token: str, traceparent: str) -> None:
    """Send a Recall with a traceparent."""
    async with grpc.aio.insecure_channel(address) as channel:
        await memory_service_pb2_grpc.MemoryServiceStub(channel).Recall(
            memory_service_pb2.RecallRequest(parent="namespaces/traced", query=QUESTION),
            metadata=(("authorization", f"Bearer {token}"), ("traceparent", traceparent)),
        )


async def test_recall_trace_is_one_tree_under_the_caller_span(
    traced: ServiceProcess, telemetry: Collector, idp: Issuer
) -> None:
    """A Recall is one tree of spans under the caller's span, and no query, text or token is in the telemetry.

    The tree has the identity with the read of the issuer's keys, the policy with the request to OPA, the encoder, and
    the statements.
    """
    async with MemoryClient(traced.address, token=idp.token("traced")) as client:
        await client.create_namespace("traced")
        await client.remember("traced", TEXT, session="s", subject="Ptolemy")
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    # A token that was never seen, of another subject: nothing of it is in a cache.
    idp.published["k2"] = idp.published["k1"]
    token = idp.token("traced", kid="k2", sub="the-one-who-traces")
    await asyncio.sleep(MIN_REFRESH_INTERVAL_S)  # the issuer was asked a moment ago
    await recall(traced.address, token, f"00-{trace}-{parent}-01")

    def of_the_call() -> list[Span]:
        return [span for span in telemetry.spans() if span.trace_id == trace]

    await asyncio.to_thread(
        shell.wait_until, lambda: any(span.parent_id == parent for span in of_the_call()), what="No span", timeout_s=20
    )
    spans = of_the_call()
    tree = list(lines(spans, parent))
    print("\n" + "\n".join(tree))
    assert {span.service for span in spans} == {"sb"}
    assert len(tree) == len(spans)
    (root,) = [span for span in spans if span.parent_id == parent]
    assert (root.name, root.kind, root.attributes["rpc.grpc.status_code"]) == (RECALL, 2, 0)
    under = {span.name for span in spans if span.parent_id == root.span_id}
    assert {"identity", "policy", "encode", "SELECT postgresql"} <= under
    by_id = {span.span_id: span.name for span in spans}
    http = {(by_id[span.parent_id], span.name) for span in spans if span.kind == 3 and span.name in {"GET", "POST"}}
    assert http == {("identity", "GET"), ("policy", "POST")}
    exported = telemetry.file.read_text()
    for secret in ("astrolabe", "cartographer", "Ptolemy", token):
        assert secret not in exported


async def test_refused_call_span_has_status_and_no_content(
    traced: ServiceProcess, telemetry: Collector, idp: Issuer
) -> None:
    """The span of a call that fails by the caller's mistake has its gRPC status, but is not marked as an error."""
    async with MemoryClient(traced.address, token=idp.token("traced")) as client:
        with pytest.raises(NotFoundError):
            await client.recall("nowhere-to-be-found", QUESTION)

    def refused() -> list[Span]:
        return [span for span in telemetry.spans() if span.attributes.get("rpc.grpc.status_code") == 5]

    await asyncio.to_thread(shell.wait_until, lambda: bool(refused()), what="No span", timeout_s=20)
    assert {(span.name, span.status) for span in refused()} == {(RECALL, 0)}


async def test_collector_outage_loses_spans_but_no_call(folder: Path, settings: dict[str, object], idp: Issuer) -> None:
    """Without a collector every call succeeds, and the process still stops cleanly in time."""
    own = {"trace__endpoint": "http://127.0.0.1:9", "trace__sample_ratio": 1, "trace__timeout_s": 1}
    with service(folder, {**settings, **own}) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("uncollected")) as client:
            await client.create_namespace("traced")
            for number in range(50):
                await client.remember("traced", f"text {number}")
        assert await asyncio.to_thread(running.stop, signal.SIGTERM) == 0


async def test_call_log_has_the_trace_id(folder: Path, settings: dict[str, object], idp: Issuer) -> None:
    """Without a trace endpoint no span is recorded, but the log still has the caller's trace id."""
    with service(folder, settings) as running:
        running.wait_until_ready()
        trace = secrets.token_hex(16)
        with pytest.raises(grpc.aio.AioRpcError):
            await recall(running.address, idp.token("logged", life_s=-60), f"00-{trace}-{secrets.token_hex(8)}-01")
        refused = running.wait_for_event("authentication failed")
    assert refused["trace_id"] == trace


async def test_rotated_collector_headers_are_sent(
    folder: Path, tmp_path: Path, settings: dict[str, object], idp: Issuer
) -> None:
    """Spans are sent with the token that the file has then: the exporter's own headers would be those of the start."""
    tokens: list[str | None] = []
    sent = asyncio.Event()

    async def accept(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("Authorization"))
        sent.set()
        return web.Response()

    headers = tmp_path / "SOMABRAIN_TRACE__HEADERS"
    headers.write_text("Authorization=Bearer%20first,X-Scope=team")
    async with serving(accept) as url:
        own = {"trace__endpoint": url, "trace__sample_ratio": 1, "secrets_dir": tmp_path}
        with service(folder, {**settings, **own}) as running:
            await asyncio.to_thread(running.wait_until_ready)
            async with MemoryClient(running.address, token=idp.token("headers")) as client:
                for expected in ("first", "second"):
                    headers.write_text(f"Authorization=Bearer%20{expected}")
                    async with asyncio.timeout(30):
                        while f"Bearer {expected}" not in tokens:
                            sent.clear()
                            await client.create_namespace(f"spans-{secrets.token_hex(4)}")
                            await sent.wait()
            assert "first" not in running.log.read_text()
    assert tokens[0] == "Bearer first"
