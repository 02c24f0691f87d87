"""External encoders: an HTTP endpoint and clients' own vectors, which another encoder's vectors never replace."""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from pydantic import SecretStr

from common.config.settings import MINILM, EmbeddingsEndpoint
from somabrain_client import MemoryClient, RecallResult, RetryPolicy
from somabrain_client.errors import InvalidArgumentError
from somabrain_service.encoders import minilm as image
from somabrain_service.encoders.endpoint import EndpointEncoder, open_endpoint
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.encoders.protocols import EncoderUnavailable
from tests.integration.service.answering import NESTED
from tests.integration.service.embeddings import (
    KEY,
    MODEL,
    Embeddings,
    Fault,
    embeddings,
    hang_up,
    respond_with,
    status,
)
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import service

TEXTS = [f"Memory {i} about {'bees' if i % 2 else 'tides'}." for i in range(50)]


@pytest.fixture(scope="module")
def encoder() -> Iterator[OnnxEncoder]:
    loaded = image.load(threads=1)
    yield loaded
    asyncio.run(loaded.close())


@pytest.fixture
async def server(encoder: OnnxEncoder) -> AsyncIterator[Embeddings]:
    async with embeddings(encoder) as running:
        yield running


def endpoint(server: Embeddings, **options: object) -> EmbeddingsEndpoint:
    fields = {"id": "remote", "url": server.url, "model": MODEL, "dimensions": 384, "attempts": 3, **options}
    return EmbeddingsEndpoint.model_validate(fields)


@pytest.fixture
async def remote(server: Embeddings) -> AsyncIterator[EndpointEncoder]:
    async with open_endpoint(endpoint(server, batch=8)) as opened:
        yield opened


async def test_endpoint_vectors_keep_the_order_of_texts(
    remote: EndpointEncoder, server: Embeddings, encoder: OnnxEncoder
) -> None:
    vectors = await remote.encode(TEXTS)
    assert np.abs(vectors - await encoder.encode(TEXTS)).max() < 1e-3  # batches pad otherwise
    assert np.array_equal(vectors[:8], await encoder.encode(TEXTS[:8]))
    assert sorted(server.request_sizes) == [2, 8, 8, 8, 8, 8, 8]
    assert (await remote.encode([])).shape == (0, 384)
    assert np.linalg.norm(await remote.encode(["", "x" * 60_000]), axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("fault", [status(503), status(429, **{"Retry-After": "0"}), status(500), hang_up])
async def test_transient_endpoint_failure_is_retried(remote: EndpointEncoder, server: Embeddings, fault: Fault) -> None:
    server.faults.extend([fault, fault])
    assert (await remote.encode(TEXTS[:1])).shape == (1, 384)
    assert server.request_sizes == [1, 1, 1]
    server.faults.extend([fault] * 3)
    with pytest.raises(EncoderUnavailable, match="'remote'"):
        await remote.encode(TEXTS[:1])
    assert server.request_sizes == [1] * 6


def answer_with(*embedding: float) -> Fault:
    return respond_with(json.dumps({"data": [{"index": 0, "embedding": embedding}]}))


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (status(401), "answered 401"),
        (status(400), "answered 400"),
        (respond_with("<html>"), "did not return one vector per text"),
        (respond_with("[]"), "did not return one vector per text"),
        (respond_with(NESTED), "did not return one vector per text"),
        (respond_with('{"data": [{"index": Infinity, "embedding": [1]}]}'), "did not return one vector per text"),
        (respond_with('{"data": [{"index": 0, "embedding": [1%s]}]}' % ("0" * 400)), "did not return one vector"),
        (respond_with('{"data": []}'), "did not return one vector per text"),
        (respond_with('{"data": [{"index": 0, "embedding": "AAAA"}]}'), "did not return one vector per text"),
        (answer_with(1.0, 2.0), "do not have the configured 384 dimensions"),
        (answer_with(*[0.0] * 384), "zero or non-finite length"),
        (answer_with(*[math.nan] * 384), "zero or non-finite length"),
        (answer_with(*[math.inf] * 384), "zero or non-finite length"),
    ],
)
async def test_permanent_endpoint_failure_is_not_retried(
    remote: EndpointEncoder, server: Embeddings, fault: Fault, why: str
) -> None:
    server.faults.append(fault)
    with pytest.raises(EncoderUnavailable, match=why):
        await remote.encode(TEXTS[:1])
    assert server.request_sizes == [1]


async def test_hung_endpoint_times_out(server: Embeddings) -> None:
    hanging, over = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        hanging.set()
        await over.wait()
        return web.Response()

    server.faults.append(hang)
    async with open_endpoint(endpoint(server, timeout_s=0.2, attempts=1)) as remote:
        with pytest.raises(EncoderUnavailable, match=r"did not answer within 0\.2 s"):
            await remote.encode(TEXTS[:1])
        assert hanging.is_set()
        over.set()


async def test_circuit_breaker_opens_after_failures_and_probes_once(server: Embeddings) -> None:
    async with open_endpoint(endpoint(server, attempts=1, breaker_failures=3, breaker_reset_s=1.0)) as remote:
        server.broken = True
        for _ in range(10):
            with pytest.raises(EncoderUnavailable):
                await remote.encode(TEXTS[:1])
        assert len(server.request_sizes) == 3
        server.broken = False
        with pytest.raises(EncoderUnavailable, match="its circuit breaker is open"):
            await remote.encode(TEXTS[:1])
        await asyncio.sleep(1.1)
        assert (await remote.encode(TEXTS[:1])).shape == (1, 384)
        assert len(server.request_sizes) == 4


async def test_api_key_file_is_reread_and_never_printed(server: Embeddings, tmp_path: Path) -> None:
    server.key = KEY
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY}\n")
    for chosen in (endpoint(server, api_key=SecretStr(KEY)), endpoint(server, api_key_file=key_file)):
        assert KEY not in repr(chosen)
        async with open_endpoint(chosen) as remote:
            assert (await remote.encode(TEXTS[:1])).shape == (1, 384)
            server.key = "sk-rotated"
            with pytest.raises(EncoderUnavailable, match="answered 401") as caught:
                await remote.encode(TEXTS[:1])
            assert KEY not in str(caught.value)
            if chosen.api_key_file is not None:
                key_file.write_text("sk-rotated")
                assert (await remote.encode(TEXTS[:1])).shape == (1, 384)
            server.key = KEY


def cosines(result: RecallResult) -> dict[str, float]:
    """The cosine of each hit's vector to the query's, by text."""
    return {hit.memory.text: round(hit.breakdown.dense, 4) for hit in result.hits if hit.breakdown}


async def test_namespaces_use_different_encoders_of_one_server(
    folder: Path, settings: dict[str, object], idp: Issuer, encoder: OnnxEncoder
) -> None:
    """The image's encoder and the endpoint give the same answers; without the endpoint, recall is lexical."""
    async with embeddings(encoder) as server:
        several = {
            **settings,
            "encoder__kind": MINILM,
            "encoder__endpoints": json.dumps(
                [{"id": "remote", "url": server.url, "model": MODEL, "dimensions": 384, "attempts": 1}]
            ),
            "encoder__client": json.dumps([{"id": "ours", "dimensions": 3}]),
        }
        with service(folder, several) as running:
            await asyncio.to_thread(running.wait_until_ready)
            token = idp.token(f"t-{uuid.uuid4().hex[:12]}")
            async with MemoryClient(running.address, token=token, retry=RetryPolicy(max_attempts=1)) as client:
                for chosen in (MINILM, "remote", "ours", "lexical"):
                    assert (await client.create_namespace(chosen, encoder=chosen)).encoder == chosen
                with pytest.raises(
                    InvalidArgumentError, match="must be one of lexical, minilm-l6-v2-int8, ours, remote"
                ):
                    await client.create_namespace("n", encoder="theirs")
                for name in (MINILM, "remote"):
                    for text in TEXTS[:6]:
                        await client.remember(name, text)
                by_image, by_endpoint = [
                    await client.recall(name, "insects", explain=True) for name in (MINILM, "remote")
                ]
                assert (by_image.best_match is not None, by_endpoint.best_match) == (True, None)
                assert (by_image.encoder_id, by_endpoint.encoder_id) == (MINILM, "remote")
                # An endpoint gives one vector a text; that is the image's, too.
                assert cosines(by_image) == cosines(by_endpoint)
                assert not by_image.degraded
                assert not by_endpoint.degraded

                server.broken = True
                lost = await client.recall("remote", "tides")
                assert (lost.encoder_id, [str(reason) for reason in lost.degraded]) == ("", ["ENCODER_UNAVAILABLE"])
                assert {hit.memory.text for hit in lost.hits} == {text for text in TEXTS[:6] if "tides" in text}
                assert not (await client.recall("remote", "insects")).hits
                await client.remember("remote", "A beehive.")
                namespace = await client.get_namespace("remote")
                assert namespace.statistics is not None
                assert (namespace.statistics.vector_count, namespace.statistics.unencoded_count) == (6, 1)
                server.broken = False

                with pytest.raises(InvalidArgumentError, match="must have 3 numbers, as 'ours' produces, not 2"):
                    await client.remember("ours", "x", vector=[1, 0])
                await client.remember("ours", "sky", vector=[0, 0, 1])
                await client.remember("ours", "north", vector=[1, 0, 0])
                ours = await client.recall("ours", vector=[0.9, 0.1, 0.2])
                assert ([hit.memory.text for hit in ours.hits], ours.encoder_id) == (["north", "sky"], "ours")
                by_words = await client.recall("ours", "sky")
                assert [hit.memory.text for hit in by_words.hits] == ["sky"]
                assert [str(reason) for reason in by_words.degraded] == ["ENCODER_UNAVAILABLE"]
            assert not [line for line in running.log.read_text().splitlines() if "tides" in line or "beehive" in line]
