"""Quotas and flags as a caller experiences them: they are set in etcd while the service runs."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from devcluster.loopback import Etcd, etcd
from somabrain_client import CallError, MemoryClient, MemoryDraft, RetryPolicy
from somabrain_client.errors import FailedPreconditionError, ResourceExhaustedError
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess, service

PREFIX = "/somabrain/flags"
SOON_S = 5.0


@pytest.fixture(scope="module")
def store() -> Iterator[Etcd]:
    with etcd() as running:
        yield running


@pytest.fixture(scope="module")
def limited(folder: Path, settings: dict[str, object], store: Etcd) -> Iterator[ServiceProcess]:
    """The service over a real etcd; a tenant may store a thousand memories unless a flag sets another limit."""
    more = {"flags__endpoints": json.dumps([store.url]), "quota__memories": 1000}
    with service(folder, {**settings, **more}) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def flag(store: Etcd, tenant: str) -> Callable[[str, str], None]:
    """Set a flag of the tenant."""

    def put(name: str, value: str) -> None:
        store.put(f"{PREFIX}/tenants/{tenant}/{name}", value)

    return put


@pytest.fixture
async def client(limited: ServiceProcess, idp: Issuer, tenant: str) -> MemoryClient:
    return MemoryClient(limited.address, token=idp.token(tenant), retry=RetryPolicy(max_attempts=1))


async def until_refused(call: Callable[[], Awaitable[object]], kind: type[CallError]) -> CallError:
    """Repeat a call until a flag takes effect, and return its refusal."""
    async with asyncio.timeout(SOON_S):
        while True:
            try:
                await call()
            except kind as exc:
                return exc
            await asyncio.sleep(0.02)


async def until_accepted(call: Callable[[], Awaitable[object]]) -> None:
    """Repeat a call until it is no longer refused."""
    async with asyncio.timeout(SOON_S):
        while True:
            try:
                await call()
            except (ResourceExhaustedError, FailedPreconditionError):
                await asyncio.sleep(0.02)
            else:
                return


async def test_rate_limit_refuses_with_retry_delay(
    client: MemoryClient, flag: Callable[[str, str], None], limited: ServiceProcess
) -> None:
    async with client:
        await client.create_namespace("notes")
        flag("requests_per_second", "0.5")
        exc = await until_refused(lambda: client.get_namespace("notes"), ResourceExhaustedError)
        assert exc.reason == "RESOURCE_EXHAUSTED"
        assert exc.details.metadata == {"quota": "requests_per_second", "limit": "0.5"}
        assert 0 < (exc.details.retry_after_s or 0) <= 2
        assert 'somabrain_quota_refusals_total{quota="requests_per_second"}' in limited.get("/metrics")[1]
        flag("requests_per_second", "0")
        await until_accepted(lambda: client.get_namespace("notes"))


async def test_batch_items_consume_the_write_rate(client: MemoryClient, flag: Callable[[str, str], None]) -> None:
    async with client:
        await client.create_namespace("notes")
        flag("writes_per_second", "10")
        batch = [MemoryDraft(f"memory {number}") for number in range(200)]
        exc = await until_refused(lambda: client.batch_remember("notes", batch), ResourceExhaustedError)
        assert exc.details.metadata["quota"] == "writes_per_second"
        assert (exc.details.retry_after_s or 0) > 10, "it is paid off before the next"
        await client.recall("notes", "memory")


async def test_storage_quota_is_reported_and_enforced(client: MemoryClient, flag: Callable[[str, str], None]) -> None:
    async with client:
        await client.create_namespace("notes")
        statistics = (await client.get_namespace("notes")).statistics
        assert statistics is not None
        assert (statistics.tenant_memory_limit, statistics.tenant_byte_limit) == (1000, 0)
        flag("memories", "2")
        flag("text_bytes", "100")
        async with asyncio.timeout(SOON_S):
            while (statistics.tenant_memory_limit, statistics.tenant_byte_limit) != (2, 100):
                statistics = (await client.get_namespace("notes")).statistics
                assert statistics is not None
        results = await client.batch_remember("notes", [MemoryDraft(text) for text in ("one", "two", "three")])
        assert isinstance(results[2], ResourceExhaustedError)
        assert results[2].details.metadata == {"quota": "memories", "limit": "2"}
        assert results[2].details.retry_after_s is None, "it does not pass by itself"
        with pytest.raises(ResourceExhaustedError, match="Forget some, or have the limit memories raised"):
            await client.remember("notes", "four")


async def test_read_only_flag_refuses_writes_and_allows_reads(
    client: MemoryClient, flag: Callable[[str, str], None]
) -> None:
    async with client:
        await client.create_namespace("notes")
        memory = await client.remember("notes", "Bees dance.")
        flag("read_only", "true")
        await until_refused(lambda: client.remember("notes", "more"), FailedPreconditionError)
        with pytest.raises(FailedPreconditionError, match="flag read_only"):
            await client.forget(memory.name)
        assert [hit.memory.text for hit in (await client.recall("notes", "bees")).hits] == ["Bees dance."]
        flag("read_only", "false")
        await until_accepted(lambda: client.remember("notes", "more"))


async def test_global_flag_applies_unless_overridden_per_tenant(
    client: MemoryClient, store: Etcd, flag: Callable[[str, str], None], limited: ServiceProcess, idp: Issuer
) -> None:
    other = MemoryClient(limited.address, token=idp.token("t-other"), retry=RetryPolicy(max_attempts=1))
    async with client, other:
        await client.create_namespace("notes")
        await other.create_namespace("notes")
        flag("read_only", "false")
        store.put(f"{PREFIX}/global/read_only", "true")
        try:
            await until_refused(lambda: other.remember("notes", "more"), FailedPreconditionError)
            await client.remember("notes", "more")
        finally:
            store.delete(f"{PREFIX}/global/read_only")
        await until_accepted(lambda: other.remember("notes", "more"))
