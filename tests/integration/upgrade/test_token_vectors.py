"""An upgrade from the previous version, whose memories have pooled vectors and none of their word pieces."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from devcluster.previous_release import PreviousRelease
from somabrain_client import MemoryClient, NamespaceStatistics, RecallResult
from tests.integration.service.service_process import run, service
from tests.support.clones import Clone

SETTINGS: dict[str, object] = {
    "auth__mode": "none",
    "policy__enabled": False,
    "grpc__host": "127.0.0.1",
    "grpc__port": 0,
    "http__host": "127.0.0.1",
    "http__port": 0,
}
NAMESPACE = "harbour"
QUESTION = "Who repaired the lamp of the lighthouse?"
ANSWER = "Ada mended the light on the headland in March."
OTHERS = [f"Boat number {number} left the harbour with {number} crates of fish." for number in range(40)]


async def recalled(client: MemoryClient) -> RecallResult:
    return await client.recall(NAMESPACE, QUESTION, top_k=10)


async def statistics(client: MemoryClient) -> NamespaceStatistics:
    namespace = await client.get_namespace(NAMESPACE)
    assert namespace.statistics is not None
    return namespace.statistics


@pytest.mark.timeout(240)
async def test_old_vectors_answer_until_token_vectors_are_backfilled(
    previous: PreviousRelease, unmigrated: Clone, folder: Path
) -> None:
    """After an upgrade the old vectors answer as before, and better once the job has created their token vectors.

    The statistics of the namespace show how far the job is.
    """
    settings = {**SETTINGS, "postgres_dsn": unmigrated.app_dsn, "owner_dsn": unmigrated.owner_dsn}
    assert run(settings, "migrate", python=previous.python).returncode == 0
    with service(folder, settings, python=previous.python) as old:
        old.wait_until_ready()
        async with MemoryClient(old.address) as client:
            await client.create_namespace(NAMESPACE)
            for text in (ANSWER, *OTHERS):
                await client.remember(NAMESPACE, text)
            before = await recalled(client)
    assert run(settings, "migrate").returncode == 0

    with service(folder, settings) as new:
        new.wait_until_ready()
        async with MemoryClient(new.address) as client:
            at_once, untouched = await recalled(client), await statistics(client)
    assert [(hit.memory.name, hit.score) for hit in at_once.hits] == [
        (hit.memory.name, hit.score) for hit in before.hits
    ]
    assert (at_once.best_match, at_once.degraded) == (None, ("TOKEN_VECTORS_MISSING",))
    assert (untouched.vector_count, untouched.token_vector_count) == (41, 0)

    with service(folder, {**settings, "worker_dsn": unmigrated.worker_dsn}) as new:
        new.wait_until_ready()
        async with MemoryClient(new.address) as client:
            while (progress := await statistics(client)).token_vector_count < progress.memory_count:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            after = await recalled(client)
    assert (after.degraded, after.hits[0].memory.text) == ((), ANSWER)
    assert after.best_match is not None
