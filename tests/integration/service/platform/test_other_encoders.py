"""Encoders of other authors in an administrator's folder: late interaction works with them as with the image's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devcluster import sentence_encoders
from devcluster.environment import local_paths
from somabrain_client import MemoryClient
from tests.integration.service.service_process import service
from tests.support.clones import Clone

ENGLISH = ("Ada mended the light on the headland in March.", "The cat sleeps on the sofa.", "Boats left with fish.")
CHINESE = ("艾达三月修理了灯塔的灯。", "猫睡在沙发上。", "渔船在黎明离开了港口。")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("encoder", "pooling", "language", "texts", "query", "match"),
    [
        ("e5-small-v2-q", "mean", "en", ENGLISH, "Who repaired the lamp?", ("lamp", "light")),
        ("bge-small-zh-v1.5-q", "cls", "zh", CHINESE, "谁修好了灯塔的灯？", ("塔", "塔")),
    ],
)
async def test_late_interaction_works_with_a_custom_encoder(
    postgres: Clone,
    folder: Path,
    encoder: str,
    pooling: str,
    language: str,
    texts: tuple[str, ...],
    query: str,
    match: tuple[str, str],
) -> None:
    """Token vectors of another encoder rank the paraphrase first, are explained word by word, and are counted."""
    onnx = [{"id": "theirs", "directory": str(sentence_encoders.folders(local_paths()) / encoder), "pooling": pooling}]
    settings = {
        "auth__mode": "none",
        "policy__enabled": False,
        "grpc__host": "127.0.0.1",
        "grpc__port": 0,
        "http__host": "127.0.0.1",
        "http__port": 0,
        "postgres_dsn": postgres.app_dsn,
        "encoder__onnx": json.dumps(onnx),
    }
    with service(folder, settings) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address) as client:
            await client.create_namespace(language, encoder="theirs", language=language)
            for text in texts:
                await client.remember(language, text)
            answer = await client.recall(language, query, explain=True)
            statistics = (await client.get_namespace(language)).statistics
    assert (answer.degraded, answer.encoder_id, answer.hits[0].memory.text) == ((), "theirs", texts[0])
    assert answer.best_match is not None
    assert answer.hits[0].breakdown is not None
    assert (
        answer.best_match
        == answer.hits[0].breakdown.match
        > max(hit.breakdown.match for hit in answer.hits[1:] if hit.breakdown)
    )
    assert match in {(met.query_word, met.memory_word) for met in answer.hits[0].matches}
    assert statistics is not None
    assert statistics.token_vector_count == len(texts)
