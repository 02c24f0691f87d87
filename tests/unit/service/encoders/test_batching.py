"""Concurrent texts share a batch, and no text waits for more than the previous batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest

from somabrain_service.encoders.minilm import DIMENSIONS, ENCODER_ID, load_network
from somabrain_service.encoders.onnx import MAX_BATCH, Network, OnnxEncoder, Output
from somabrain_service.encoders.protocols import EncoderUnavailable


@dataclass(frozen=True)
class CountingNetwork(Network):
    """A network that records the number of texts in each run, which is not visible otherwise."""

    runs: list[int] = field(default_factory=list)

    def run(self, texts: list[str]) -> list[Output]:
        """See `Network.run`."""
        self.runs.append(len(texts))
        return super().run(texts)


@dataclass(frozen=True)
class BarrierNetwork(CountingNetwork):
    """A network whose runs wait for each other at a barrier."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))

    def run(self, texts: list[str]) -> list[Output]:
        """See `Network.run`."""
        self.barrier.wait()
        return super().run(texts)


def fields_of(network: Network) -> dict[str, Any]:
    """Return the fields that every network has."""
    return {each.name: getattr(network, each.name) for each in fields(Network)}


@pytest.fixture
def network() -> CountingNetwork:
    """The network of MiniLM."""
    loaded = load_network(threads=1)
    return CountingNetwork(**fields_of(loaded))


@pytest.fixture
async def counted(network: CountingNetwork) -> AsyncIterator[OnnxEncoder]:
    """MiniLM with that network."""
    encoder = OnnxEncoder(ENCODER_ID, network, DIMENSIONS)
    yield encoder
    await encoder.close()


async def test_concurrent_queries_share_run_and_get_same_vectors(
    counted: OnnxEncoder, network: CountingNetwork
) -> None:
    questions = [f"Where did the {animal} go?" for animal in ("cat", "dog", "old grey hippopotamus", "bee")]
    alone = [await counted.encode([question]) for question in questions]
    network.runs.clear()
    together = await asyncio.gather(*(counted.encode([question]) for question in questions))
    assert network.runs == [4]
    for one, shared in zip(alone, together, strict=True):
        assert np.allclose(one, shared, atol=1e-6)


async def test_runs_execute_concurrently_up_to_limit(network: CountingNetwork) -> None:
    """Two runs wait for each other and end; queued texts are divided between them, and each gets its own vector."""
    barrier_network = BarrierNetwork(**fields_of(network), barrier=threading.Barrier(2, timeout=20))
    questions = [f"Where did the {animal} go?" for animal in ("cat", "dog", "bee", "cow", "ant", "hen")]
    encoder = OnnxEncoder(ENCODER_ID, barrier_network, DIMENSIONS, concurrency=2)
    together = await asyncio.gather(*(encoder.encode([question]) for question in questions))
    assert sorted(barrier_network.runs) == [3, 3]
    alone = network.vectors(questions)
    assert all(np.allclose(alone[i], vectors[0], atol=1e-6) for i, vectors in enumerate(together))
    again = await asyncio.gather(*(encoder.encode([question]) for question in questions[:2]))
    assert np.allclose(again[1][0], alone[1], atol=1e-6)
    await encoder.close()


async def test_query_is_encoded_between_chunks_of_a_batch(minilm: OnnxEncoder) -> None:
    ended: list[str] = []

    async def encode(name: str, texts: list[str]) -> None:
        await minilm.encode(texts)
        ended.append(name)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(encode("batch", ["A kitten rested on a rug."] * 4 * MAX_BATCH))
        await asyncio.sleep(0)
        tasks.create_task(encode("question", ["Where is the kitten?"]))
    assert ended == ["question", "batch"]


async def test_short_text_is_not_padded_to_long_one(counted: OnnxEncoder, network: CountingNetwork) -> None:
    texts = ["bee " * 200, "short", "bee " * 190, "bee " * 195]
    await asyncio.gather(*(counted.encode([text]) for text in texts))
    assert network.runs == [1, 1, 2]


async def test_failed_text_does_not_affect_next_one(minilm: OnnxEncoder) -> None:
    with pytest.raises(EncoderUnavailable):
        await minilm.encode(["half a character: \ud83d"])
    assert (await minilm.encode(["A text."])).shape == (1, minilm.dimensions)


async def test_cancelled_caller_does_not_cancel_others(minilm: OnnxEncoder) -> None:
    tasks = [asyncio.create_task(minilm.encode(["A text."])) for _ in range(4)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[2].cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(end, asyncio.CancelledError) for end in ends] == [True, False, True, False]


async def test_encode_after_close_is_unavailable(minilm: OnnxEncoder) -> None:
    await minilm.close()
    with pytest.raises(EncoderUnavailable):
        await minilm.encode(["A text."])
