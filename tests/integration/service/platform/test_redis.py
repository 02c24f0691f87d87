"""The cache over real Redis: standalone, with TLS, behind Sentinels, as a Cluster; down, slow, full or damaged."""

from __future__ import annotations

import asyncio
import gc
import math
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from common.config.settings import CacheSettings
from common.errors import ConfigurationError, StoreUnavailable
from common.utils.cache import Cache, CacheEntry, open_cache
from devcluster import shell
from devcluster.loopback import Redis, redis, redis_cluster, redis_sentinel
from devcluster.loopback.server_process import tool
from devcluster.pki import CertificateAuthority
from somabrain_service.metrics import Metrics
from tests.integration.service.delay_proxy import delay_proxy
from tests.integration.service.service_process import service
from tests.support.waiting import eventually_async, until

SOON_S = 20.0
NOW_S = 1_700_000_000.0


class Text:
    """A codec that accepts only values that begin with `v`."""

    def encode(self, value: str) -> bytes:
        return value.encode()

    def decode(self, data: bytes) -> str:
        if not data.startswith(b"v"):
            raise ValueError("none of this codec's")
        return data.decode()


class CountingCache:
    """A cache, and how often its values were computed."""

    def __init__(self, cache: Cache, metrics: Metrics) -> None:
        self.cache = cache
        self.metrics = metrics
        self.computed = 0

    async def get(self, key: str, value: str = "v", *, now_s: float = NOW_S, until_s: float = math.inf) -> bool:
        """Get a value, and return whether it was cached."""

        async def make() -> CacheEntry[str]:
            self.computed += 1
            return CacheEntry(value, until_s)

        result, cached = await self.cache.get_or_compute("recall", key, Text(), now_s, make)
        assert result == value
        return cached

    def counted(self, outcome: str) -> float:
        labels = {"cache": "recall", "outcome": outcome}
        return self.metrics.registry.get_sample_value("somabrain_cache_requests_total", labels) or 0.0

    async def until(self, ok: bool) -> None:
        """Wait until the check of Redis has this result."""

        async def probe() -> bool:
            await self.cache.probe()
            return self.cache.last_check().ok

        await eventually_async(probe, lambda found: found == ok, f"ok is {ok}", SOON_S)


@asynccontextmanager
async def opened(url: str, **more: object) -> AsyncIterator[CountingCache]:
    # As long as a busy machine may take; the bound itself is tested with its default.
    chosen = {"url": url, "timeout_s": 1.0, **more}
    metrics = Metrics()
    async with open_cache(CacheSettings.model_validate(chosen), metrics.cache) as cache:
        assert cache is not None
        yield CountingCache(cache, metrics)


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with redis(password="p@ss/word") as running:
        yield running


@pytest.fixture
def url(server: Redis) -> str:
    server.command("FLUSHALL")
    return f"redis://:p%40ss%2Fword@127.0.0.1:{server.port}/1"


async def test_value_is_computed_once_and_then_cached(url: str) -> None:
    async with opened(url) as one, opened(url) as other:
        assert not await one.get("k")
        assert await one.get("k")
        assert await other.get("k")
        assert (one.computed, other.computed) == (1, 0)
        assert (one.counted("miss"), one.counted("hit"), other.counted("hit")) == (1, 1, 1)


async def test_saved_compute_time_is_measured(url: str) -> None:
    async with opened(url) as counting:

        async def make() -> CacheEntry[str]:
            await asyncio.sleep(0.5)
            return CacheEntry("v", math.inf)

        for _ in range(3):
            await counting.cache.get_or_compute("recall", "k", Text(), NOW_S, make)
        saved = counting.metrics.registry.get_sample_value("somabrain_cache_saved_seconds_total", {"cache": "recall"})
        assert saved is not None
        assert 0.5 < saved <= 1.2


async def test_cached_value_expires_by_caller_clock(url: str, server: Redis) -> None:
    """A value expires by the caller's clock, not by that of Redis, and one that has already expired is not stored."""
    async with opened(url) as counting:
        await counting.get("k", until_s=NOW_S + 100)
        assert await counting.get("k", now_s=NOW_S + 99.999)
        assert not await counting.get("k", "v2", now_s=NOW_S + 100, until_s=NOW_S + 200)
        assert await counting.get("k", "v2", now_s=NOW_S + 100)
        await counting.get("over", until_s=NOW_S)
        assert server.command("-n", "1", "EXISTS", "over") == "0"


async def test_redis_ttl_follows_entry_expiry(url: str, server: Redis) -> None:
    async with opened(url, ttl_s=100) as counting:
        await counting.get("short", until_s=NOW_S + 10)
        await counting.get("long")
        assert 9 <= int(server.command("-n", "1", "TTL", "short")) <= 10
        assert 99 <= int(server.command("-n", "1", "TTL", "long")) <= 100


async def test_concurrent_requests_share_one_computation(url: str) -> None:
    async with opened(url) as counting:
        going, go = asyncio.Event(), asyncio.Event()

        async def make() -> CacheEntry[str]:
            counting.computed += 1
            going.set()
            await go.wait()
            return CacheEntry("v", math.inf)

        async with asyncio.TaskGroup() as tasks:
            waiting = [
                tasks.create_task(counting.cache.get_or_compute("recall", "k", Text(), NOW_S, make)) for _ in range(50)
            ]
            await going.wait()
            go.set()
        assert {task.result() for task in waiting} == {("v", False)}
        assert counting.computed == 1
        assert (counting.counted("miss"), counting.counted("shared")) == (1, 49)


async def test_cancelled_caller_does_not_cancel_the_shared_computation(url: str) -> None:
    async with opened(url) as counting:
        going = asyncio.Event()

        async def never() -> CacheEntry[str]:
            going.set()
            await asyncio.Event().wait()
            raise AssertionError

        first = asyncio.create_task(counting.cache.get_or_compute("recall", "k", Text(), NOW_S, never))
        await going.wait()
        second = asyncio.create_task(counting.get("k"))
        await asyncio.sleep(0)
        first.cancel()
        assert not await second
        assert counting.computed == 1


async def test_failed_computation_is_not_cached(url: str) -> None:
    async with opened(url) as counting:

        async def fail() -> CacheEntry[str]:
            raise StoreUnavailable("PostgreSQL cannot be reached.")

        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await counting.cache.get_or_compute("recall", "k", Text(), NOW_S, fail)
        assert not await counting.get("k")


@pytest.mark.parametrize("damage", ["", "short", "x" * 200, "copied"])
async def test_damaged_or_misplaced_value_is_a_cache_miss(url: str, server: Redis, damage: str) -> None:
    async with opened(url) as counting:
        await counting.get("k")
        await counting.get("other")
        if damage == "copied":
            server.command("-n", "1", "COPY", "other", "k", "REPLACE")
        else:
            server.command("-n", "1", "SET", "k", damage)
        assert not await counting.get("k")
        assert await counting.get("k")


async def test_redis_outage_slows_but_never_falsifies_results(url: str) -> None:
    """While Redis is stopped every value is computed and no call waits for it; after its restart it is used again."""
    with redis() as server:
        async with opened(server.url) as counting:
            await counting.get("k")
            server.process.stop()
            for _ in range(5):
                assert not await counting.get("k")
            assert not counting.cache.last_check().ok
            assert "until it does, all results are computed without the cache" in counting.cache.last_check().reason
            assert counting.counted("error") + counting.counted("skipped") == 5
            assert counting.counted("error") <= 3
            server.process.start()
            await counting.until(ok=True)
            assert not await counting.get("k"), "it came back empty"
            assert await counting.get("k")


async def test_hung_redis_delays_only_a_few_calls() -> None:
    with redis() as server:
        async with opened(server.url, timeout_s=0.05) as counting:
            await counting.until(ok=True)
            server.process.freeze()
            for _ in range(100):
                assert not await counting.get("k")
            assert counting.counted("error") <= 3
            assert counting.counted("skipped") >= 97
            server.process.thaw()
            await counting.until(ok=True)
            async with asyncio.timeout(SOON_S):
                while not await counting.get("k"):
                    await counting.cache.probe()


async def test_slow_redis_is_bypassed_until_it_recovers(server: Redis) -> None:
    server.command("FLUSHALL")
    async with delay_proxy(server.port) as way:
        url = f"redis://:p%40ss%2Fword@127.0.0.1:{way.port}/1"
        async with opened(url, timeout_s=0.2) as counting:
            await counting.until(ok=True)
            way.delay_s = 5.0
            for _ in range(100):
                assert not await counting.get("k")
            assert counting.counted("error") <= 3
            await counting.until(ok=False)
            way.delay_s = 0.0
            await counting.until(ok=True)
            await wait_until_cached(counting, "k")


async def test_full_redis_is_still_read(url: str, server: Redis) -> None:
    """A full Redis still returns its values, and stores new ones once it has space."""
    async with opened(url) as counting:
        await counting.get("k")
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        server.command("CONFIG", "SET", "maxmemory", "1")
        try:
            for _ in range(5):
                assert not await counting.get("more")
            assert counting.cache.last_check().ok
            assert await counting.get("k")
        finally:
            server.command("CONFIG", "SET", "maxmemory", "0")
        assert not await counting.get("more")
        assert await counting.get("more")


async def test_wrong_redis_password_is_reported_without_failing_calls(server: Redis) -> None:
    async with opened(f"redis://:wrong@127.0.0.1:{server.port}") as counting:
        assert not await counting.get("k")
        assert not counting.cache.last_check().ok
        assert "wrong" not in counting.cache.last_check().reason.replace("WRONGPASS", "")


async def test_redis_acl_user_and_password_are_used(server: Redis) -> None:
    server.command("ACL", "SETUSER", "brain", "on", ">secret", "~somabrain:*", "+get", "+set", "+ping")
    async with opened(f"redis://brain:secret@127.0.0.1:{server.port}") as counting:
        assert not await counting.get("somabrain:k")
        assert await counting.get("somabrain:k")


async def test_redis_tls_is_verified() -> None:
    with redis(password="p", tls=True) as server:
        async with opened(server.url, ca_file=server.ca_file) as counting:
            assert not await counting.get("k")
            assert await counting.get("k")
        async with opened(server.url) as stranger:
            assert not await stranger.get("k")
            assert "certificate verify failed" in stranger.cache.last_check().reason


async def test_renewed_redis_ca_is_reloaded(tmp_path: Path) -> None:
    """Once the file has both authorities, Redis is used whichever of them signed its certificate."""
    with redis(tls=True) as server:
        assert server.ca_file is not None
        renewed = CertificateAuthority.create(tmp_path / "renewed")
        renewed.issue_server("redis", "/CN=redis", ["IP:127.0.0.1"])
        trusted = tmp_path / "trusted.crt"
        trusted.write_text(server.ca_file.read_text())
        async with opened(server.url, ca_file=trusted) as counting:
            assert not await counting.get("k")
            server.command(
                "CONFIG",
                "SET",
                "tls-cert-file",
                renewed.folder / "redis.crt",
                "tls-key-file",
                renewed.folder / "redis.key",
                "tls-ca-cert-file",
                renewed.certificate,
            )
            await asyncio.to_thread(drop_clients, replace(server, ca_file=renewed.certificate))
            await counting.until(False)
            trusted.write_text(server.ca_file.read_text() + renewed.certificate.read_text())
            await counting.until(True)
            assert await counting.get("k")


async def test_rotated_redis_user_and_password_are_reloaded(server: Redis) -> None:
    server.command("ACL", "SETUSER", "rotating", "on", ">first", "~*", "+get", "+set", "+ping")
    now = CacheSettings.model_validate({"url": f"redis://rotating:first@127.0.0.1:{server.port}", "timeout_s": 1.0})
    metrics = Metrics()
    async with open_cache(now, metrics.cache, lambda: now) as cache:
        assert cache is not None
        counting = CountingCache(cache, metrics)
        assert not await counting.get("rotated")
        for user, password in (("rotating", "second"), ("successor", "third")):
            server.command("ACL", "SETUSER", user, "on", "resetpass", f">{password}", "~*", "+get", "+set", "+ping")
            if user == "successor":
                server.command("ACL", "DELUSER", "rotating")
            drop_clients(server)
            await counting.until(False)
            url = f"redis://{user}:{password}@127.0.0.1:{server.port}"
            now = CacheSettings.model_validate({"url": url, "timeout_s": 1.0})
            await counting.until(True)
            assert await counting.get("rotated")


@asynccontextmanager
async def following(settings: list[CacheSettings]) -> AsyncIterator[CountingCache]:
    """A cache that follows the last of these settings; it was opened with the first."""
    metrics = Metrics()
    async with open_cache(settings[0], metrics.cache, lambda: settings[-1]) as cache:
        assert cache is not None
        yield CountingCache(cache, metrics)


async def test_redis_url_change_to_tls_is_reloaded(url: str) -> None:
    """Authorities that are renewed afterwards are followed as well."""
    with redis(tls=True) as secured:
        assert secured.ca_file is not None
        authorities = secured.ca_file.parent / "trusted.crt"
        authorities.write_text(secured.ca_file.read_text())
        plain = CacheSettings.model_validate({"url": url, "ca_file": authorities, "timeout_s": 1.0})
        settings = [plain]
        async with following(settings) as counting:
            await counting.get("k")
            settings.append(plain.model_copy(update={"url": SecretStr(secured.url)}))
            await counting.cache.probe()
            assert counting.cache.last_check().ok
            assert not await counting.get("k"), "it is another Redis"
            assert secured.command("EXISTS", "k") == "1"
            stranger = CertificateAuthority.create(authorities.parent / "stranger")
            authorities.write_text(stranger.certificate.read_text())
            await counting.until(False)
            assert "certificate verify failed" in counting.cache.last_check().reason


async def test_invalid_redis_url_keeps_last_valid_one_and_reloads_ca(tmp_path: Path) -> None:
    with redis(tls=True) as server:
        assert server.ca_file is not None
        stranger = CertificateAuthority.create(tmp_path / "stranger")
        trusted = tmp_path / "trusted.crt"
        trusted.write_text(stranger.certificate.read_text())
        valid = CacheSettings.model_validate({"url": server.url, "ca_file": trusted, "timeout_s": 1.0})
        settings = [valid, valid.model_copy(update={"url": SecretStr("rediss://")})]
        async with following(settings) as counting:
            await counting.until(False)
            trusted.write_text(server.ca_file.read_text())
            await counting.until(True)
            assert not await counting.get("k")
            assert await counting.get("k")


async def test_other_redis_settings_are_not_reloaded(tmp_path: Path) -> None:
    with redis(password="p", tls=True) as server:
        stranger = CertificateAuthority.create(tmp_path / "stranger")
        valid = CacheSettings.model_validate({"url": server.url, "ca_file": server.ca_file, "timeout_s": 1.0})
        settings = [valid, valid.model_copy(update={"ca_file": stranger.certificate})]
        async with following(settings) as counting:
            await asyncio.to_thread(drop_clients, server)
            await counting.cache.probe()
            assert counting.cache.last_check().ok


def test_service_rereads_rotated_redis_password_file(
    server: Redis, folder: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    """A chart's Secret changes under the running process: /healthz is ok again without a restart."""
    url = tmp_path / "SOMABRAIN_CACHE__URL"
    server.command("ACL", "SETUSER", "chart", "on", ">first", "~*", "+get", "+set", "+ping")
    url.write_text(f"redis://chart:first@127.0.0.1:{server.port}")
    with service(folder, {**settings, "cache__timeout_s": 1.0, "secrets_dir": tmp_path}) as running:
        until(lambda: '"redis": {"status": "ok"' in running.get("/healthz")[1], "Redis is used")
        server.command("ACL", "SETUSER", "chart", "resetpass", ">second")
        drop_clients(server)
        until(lambda: "invalid username-password pair" in running.get("/healthz")[1], "the former password is refused")
        url.write_text(f"redis://chart:second@127.0.0.1:{server.port}")
        until(lambda: '"redis": {"status": "ok"' in running.get("/healthz")[1], "Redis is used again")


def drop_clients(server: Redis) -> None:
    """Close the connections of all clients, as a restart does."""
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@pytest.mark.parametrize("name", ["ca_file", "cert_file"])
async def test_invalid_pem_file_fails_startup(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=rf"cache\.{name}"):
        async with opened("rediss://127.0.0.1:1", **{name: tmp_path / "file"}):
            pass


async def test_client_certificate_is_presented_to_redis() -> None:
    with redis(tls=True) as server:
        assert server.ca_file is not None
        authority = CertificateAuthority(server.ca_file.parent)
        authority.issue_client("brain", "/CN=brain")
        server.command("CONFIG", "SET", "tls-auth-clients", "yes")
        own = {"cert_file": authority.folder / "brain.crt", "key_file": authority.folder / "brain.key"}
        async with opened(server.url, ca_file=server.ca_file, **own) as counting:
            assert not await counting.get("k")
            assert await counting.get("k")
        async with opened(server.url, ca_file=server.ca_file) as bare:
            assert not await bare.get("k")
            assert not bare.cache.last_check().ok


async def wait_until_cached(counting: CountingCache, key: str) -> None:
    async def probe() -> bool:
        await counting.cache.probe()
        return await counting.get(key)

    await eventually_async(probe, bool, f"{key} is cached", SOON_S)


@pytest.mark.parametrize("tls", [False, True])
async def test_sentinel_failover_finds_the_new_primary(tls: bool) -> None:
    with redis_sentinel(password="secret", tls=tls) as group:
        hosts = ",".join(f"{host}:{port}" for host, port in group.sentinels)
        scheme, ca_file = "rediss" if tls else "redis", group.primary.ca_file
        async with opened(f"{scheme}+sentinel://:secret@{hosts}/{group.service}", ca_file=ca_file) as counting:
            await wait_until_cached(counting, "k")
            group.primary.process.stop()
            for _ in range(5):
                await counting.get("k")
            assert not counting.cache.last_check().ok
            await wait_until_cached(counting, "after")
            assert group.replica.command("EXISTS", "after") == "1"


async def test_silent_sentinel_is_queried_last() -> None:
    """The first of the Sentinels accepts connections and never answers: others are queried, now and when it fails."""
    with redis_sentinel() as servers, socket.create_server(("127.0.0.1", 0)) as silent:
        addresses = [silent.getsockname()[:2], *servers.sentinels]
        hosts = ",".join(f"{host}:{port}" for host, port in addresses)
        url = f"redis+sentinel://:{servers.password}@{hosts}/{servers.service}"
        async with opened(url) as counting:
            await counting.until(True)
            assert not await counting.get("k")
            assert await counting.get("k")


async def test_sentinel_password_is_separate() -> None:
    with redis_sentinel(password="secret") as group:
        for _, port in group.sentinels:
            shell.run([tool("redis-cli"), "-p", port, "ACL", "SETUSER", "default", "resetpass", ">watching"])
        hosts = ",".join(f"{host}:{port}" for host, port in group.sentinels)
        url = f"redis+sentinel://:secret@{hosts}/{group.service}"
        async with opened(url, sentinel_password="watching") as counting:
            await wait_until_cached(counting, "k")
        async with opened(url) as stranger:
            assert not await stranger.get("k")
            assert not stranger.cache.last_check().ok


@pytest.mark.parametrize("tls", [False, True])
# redis-py leaves connections to the garbage collector when it looks for other nodes.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_redis_cluster_keys_are_read_from_their_node(tls: bool) -> None:
    with redis_cluster(password="secret", tls=tls) as nodes:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        scheme = "rediss" if tls else "redis"
        async with opened(f"{scheme}+cluster://:secret@{hosts}", ca_file=nodes[0].ca_file) as counting:
            keys = [f"k{number}" for number in range(30)]
            for key in keys:
                await wait_until_cached(counting, key)
            assert all(int(node.command("DBSIZE")) > 0 for node in nodes)
            for node in nodes:
                node.process.stop()
            for _ in range(5):
                assert not await counting.get("k0")
            assert not counting.cache.last_check().ok
    gc.collect()


def test_cache_without_url_is_disabled() -> None:
    async def opens() -> bool:
        async with open_cache(CacheSettings(), Metrics().cache) as cache:
            return cache is not None

    assert not asyncio.run(opens())
