"""Recall over gRPC with a Redis behind it, and without Redis while it is unavailable."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.loopback import Etcd, Redis, etcd, redis
from somabrain_client import MemoryClient, RetryPolicy
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess, service
from tests.support.waiting import until_async

SOON_S = 15.0


@pytest.fixture(scope="module")
def cache_server() -> Iterator[Redis]:
    with redis(password="p") as running:
        yield running


@pytest.fixture(scope="module")
def flags() -> Iterator[Etcd]:
    with etcd() as running:
        yield running


@pytest.fixture(scope="module")
def caching(folder: Path, settings: dict[str, object], cache_server: Redis, flags: Etcd) -> Iterator[ServiceProcess]:
    more = {"cache__url": cache_server.url, "cache__timeout_s": 1, "flags__endpoints": json.dumps([flags.url])}
    with service(folder, {**settings, **more}) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
async def client(caching: ServiceProcess, idp: Issuer) -> MemoryClient:
    token = idp.token(f"t-{uuid.uuid4().hex[:12]}")
    return MemoryClient(caching.address, token=token, retry=RetryPolicy(max_attempts=1))


def redis_check(running: ServiceProcess) -> dict[str, object]:
    check: dict[str, object] = json.loads(running.get("/healthz")[1])["checks"]["redis"]
    return check


async def test_recall_response_reports_cache_hit(client: MemoryClient, caching: ServiceProcess) -> None:
    async with client:
        await client.create_namespace("notes")
        await client.remember("notes", "Bees dance.")
        first, second = [await client.recall("notes", "bees", explain=True) for _ in range(2)]
        assert (first.cached, second.cached) == (False, True)
        assert second.hits == first.hits
        await client.remember("notes", "Bees sing.")
        assert not (await client.recall("notes", "bees")).cached
        metrics = caching.get("/metrics")[1]
        assert 'somabrain_cache_requests_total{cache="recall",outcome="hit"}' in metrics
        assert 'somabrain_cache_saved_seconds_total{cache="recall"}' in metrics


async def test_recall_cache_flag_disables_the_cache(client: MemoryClient, flags: Etcd) -> None:
    async with client:
        await client.create_namespace("notes")
        await client.remember("notes", "Bees dance.")

        async def is_cached() -> bool:
            await client.recall("notes", "bees")
            return (await client.recall("notes", "bees")).cached

        assert await is_cached()
        for value in ("false", "true"):
            flags.put("/somabrain/flags/global/recall_cache", value)
            async with asyncio.timeout(SOON_S):
                while await is_cached() != (value == "true"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)


async def test_recall_continues_and_healthz_degrades_without_redis(
    client: MemoryClient, caching: ServiceProcess, cache_server: Redis
) -> None:
    async with client:
        await client.create_namespace("notes")
        await client.remember("notes", "Bees dance.")
        await until_async(lambda: redis_check(caching)["status"] == "ok")
        cache_server.process.freeze()
        try:
            for _ in range(10):
                answer = await client.recall("notes", "bees")
                assert ([hit.memory.text for hit in answer.hits], answer.cached) == (["Bees dance."], False)
            await until_async(lambda: redis_check(caching)["status"] == "failing")
            status, body = caching.get("/healthz")
            assert (status, json.loads(body)["status"]) == (200, "degraded")
            assert caching.get("/ready")[0] == 200
            assert 'somabrain_dependency_up{dependency="redis"} 0.0' in caching.get("/metrics")[1]
        finally:
            cache_server.process.thaw()
        await until_async(lambda: redis_check(caching)["status"] == "ok")
        async with asyncio.timeout(SOON_S):
            while not (await client.recall("notes", "bees")).cached:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def test_invalid_cache_url_fails_startup_without_printing_it(folder: Path, settings: dict[str, object]) -> None:
    with (
        pytest.raises(AssertionError) as caught,
        service(folder, {**settings, "cache__url": "redis://:sesame@host/x"}),
    ):
        pass
    assert "cache.url: must be redis://" in str(caught.value)
    assert "sesame" not in str(caught.value)
