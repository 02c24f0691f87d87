"""The client and its command line against the real service."""

from __future__ import annotations

import asyncio
import gc
import itertools
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from aiohttp import web

from somabrain_client import ClientCredentials, Filter, MemoryClient, SyncMemoryClient
from somabrain_client.credentials import TokenError, read_token
from somabrain_client.errors import DeadlineExceededError, UnauthenticatedError, UnavailableError
from tests.integration.service.answering import NESTED, serving
from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess, service
from tests.integration.service.token_endpoint import token_endpoint
from tests.support.clones import Clone


async def test_default_retries_hide_a_server_restart(folder: Path, settings: dict[str, object], idp: Issuer) -> None:
    """The only replica is restarted under writers: no call fails, and every text is stored exactly once."""
    token = idp.token("restart")
    with service(folder, {**settings, "grpc__shutdown_delay_s": 0.2}) as first:
        first.wait_until_ready()
        async with MemoryClient(first.address, token=token) as client:
            await client.create_namespace("log")
            stop = asyncio.Event()
            written: list[str] = []

            async def write(writer: int) -> None:
                for number in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
                    await client.remember("log", f"writer {writer} number {number}")
                    written.append(f"writer {writer} number {number}")

            writers = [asyncio.create_task(write(writer)) for writer in range(4)]
            await asyncio.sleep(0.5)
            first.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(first.process.wait, 30)
            port = first.address.rpartition(":")[2]
            with service(folder, {**settings, "grpc__port": port}) as second:
                await asyncio.to_thread(second.wait_until_ready)
                await asyncio.sleep(0.5)
                stop.set()
                await asyncio.gather(*writers)
                stored = Counter([memory.text async for memory in client.list("log", page_size=1000)])
            assert client.attempts.unavailable > 0
    assert stored == Counter(written)


async def test_rotated_token_file_is_reread(brain: ServiceProcess, idp: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(idp.token("rotated", life_s=-60))
    async with MemoryClient(brain.address, token=file) as client:
        with pytest.raises(UnauthenticatedError):
            await client.create_namespace("notes")
        file.write_text(idp.token("rotated") + "\n")
        await client.create_namespace("notes")


async def test_token_may_come_from_a_callable(brain: ServiceProcess, idp: Issuer) -> None:
    async def token() -> str:
        return idp.token("callable")

    async with MemoryClient(brain.address, token=token) as client:
        await client.create_namespace("notes")


async def test_deadline_cancels_the_write_in_the_database(connect: Connect, postgres: Clone) -> None:
    """A write whose caller gave up while it waited for a lock is cancelled in the database and stores nothing."""
    async with connect("deadline") as client:
        await client.create_namespace("notes")
        async with (
            connect("deadline", deadline_s=2) as hasty,
            await psycopg.AsyncConnection.connect(postgres.owner_dsn) as holder,
        ):
            await holder.execute("LOCK TABLE memories IN ACCESS EXCLUSIVE MODE")
            write = asyncio.create_task(hasty.remember("notes", "too slow"))
            await _until_waiting(holder, writers=1)
            with pytest.raises(DeadlineExceededError):
                await write
            await _until_waiting(holder, writers=0)
            await holder.rollback()
        assert [memory.text async for memory in client.list("notes")] == []


async def _until_waiting(holder: psycopg.AsyncConnection, writers: int) -> None:
    """Wait until exactly `writers` transactions wait for the table of memories."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'memories'::regclass"
    for _ in range(200):  # less than the statement time-out, which would end it, too
        if await (await holder.execute(waiting)).fetchone() == (writers,):
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"For four seconds there were not {writers} transactions that wait.")


async def test_unreachable_server_is_unavailable_after_retries(idp: Issuer) -> None:
    async with MemoryClient("127.0.0.1:1", token=idp.token(), deadline_s=1.0) as client:
        with pytest.raises(UnavailableError):
            await client.recall("notes", "anything")
        assert client.attempts.calls == 1
        assert client.attempts.unavailable == client.attempts.attempts > 2


@pytest.fixture(params=["America/New_York", "Asia/Tokyo"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The zone of the machine that the client runs on."""
    with monkeypatch.context() as environment:
        environment.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


async def test_naive_datetimes_are_local_time(connect: Connect, zone: str) -> None:
    """An event whose time is now is found by a filter of the last minute; a ttl of an hour lasts an hour."""
    tenant = zone.replace("/", "-").lower()
    now = datetime.now()  # noqa: DTZ005 - without a zone on purpose
    async with connect(tenant) as client:
        await client.create_namespace("notes")
        memory = await client.remember("notes", "tea", event_time=now, expire_time=now + timedelta(hours=1))
        assert abs(memory.event_time - datetime.now(UTC)) < timedelta(minutes=1)
        assert memory.expire_time == memory.event_time + timedelta(hours=1)
        minute = timedelta(minutes=1)
        for where in (
            Filter(event_time_from=now - minute, event_time_until=now + minute),
            Filter(create_time_from=now - minute, create_time_until=now + minute),
        ):
            assert [each.name async for each in client.list("notes", where=where)] == [memory.name]
            assert [hit.memory.name for hit in (await client.recall("notes", "tea", where=where)).hits] == [memory.name]
            exported = [item async for page in client.export("notes", where=where) for item in page.memories]
            assert [each.memory.name for each in exported] == [memory.name]
        changed = await client.update(
            memory.name, event_time=now - timedelta(hours=2), expire_time=now + timedelta(hours=2)
        )
        assert changed.event_time == memory.event_time - timedelta(hours=2)
        assert changed.expire_time == memory.event_time + timedelta(hours=2)


@pytest.mark.parametrize("expires_in", ["3599", "3599.5", 3599, 3599.5])
async def test_expires_in_may_be_a_numeric_string(expires_in: object) -> None:
    with token_endpoint({"access_token": "abc", "token_type": "Bearer", "expires_in": expires_in}) as endpoint:
        source = ClientCredentials(endpoint.url, "agent", "secret")
        assert [await source(), await source()] == ["abc", "abc"]
        assert len(endpoint.forms) == 1  # the token is cached for its lifetime


async def test_token_without_expires_in_is_fetched_for_each_call() -> None:
    with token_endpoint({"access_token": "abc", "expires_in": None}) as endpoint:
        source = ClientCredentials(endpoint.url, "agent", "secret")
        assert [await source(), await source()] == ["abc", "abc"]
        assert len(endpoint.forms) == 2


@pytest.mark.parametrize("expires_in", ["soon", "", "nan", "1e999", -1, "-1", True, [3600], {}])
async def test_invalid_expires_in_is_reported(expires_in: object) -> None:
    with (
        token_endpoint({"access_token": "abc", "expires_in": expires_in}) as endpoint,
        pytest.raises(TokenError, match=r"has an invalid expires_in; it must be a number of seconds"),
    ):
        await ClientCredentials(endpoint.url, "agent", "secret")()


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
async def test_non_http_or_truncated_token_response_is_a_token_error(answer: bytes) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
        with pytest.raises(TokenError, match="gave no valid response"):
            await read_token(ClientCredentials(url, "client", "secret"))


async def test_token_stays_in_use_while_secret_file_is_replaced(tmp_path: Path) -> None:
    """A token is due for renewal while its file of the secret is away: it is used until it expires."""
    secret = tmp_path / "secret"
    secret.write_text("sesame")
    with token_endpoint({"access_token": "abc", "expires_in": 4}) as endpoint:
        source = ClientCredentials(endpoint.url, "client", secret)
        assert await read_token(source) == "abc"
        secret.unlink()
        await asyncio.sleep(4 * ClientCredentials.RENEW_AT + 0.1)
        assert await read_token(source) == "abc"
        await asyncio.sleep(4 * (1 - ClientCredentials.RENEW_AT))
        with pytest.raises(FileNotFoundError):
            await read_token(source)
        secret.write_text("sesame")
        assert await read_token(source) == "abc"


async def test_deeply_nested_token_response_is_a_token_error() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=NESTED)

    async with serving(answer) as url:
        with pytest.raises(TokenError, match="gave no valid response"):
            await read_token(ClientCredentials(url, "client", "secret"))


async def test_scope_and_audience_are_sent_to_token_endpoint_when_given() -> None:
    with token_endpoint({"access_token": "abc"}) as endpoint:
        await ClientCredentials(endpoint.url, "agent", "secret")()
        await ClientCredentials(endpoint.url, "agent", "secret", scope="a b", audience="somabrain")()
        plain = {"grant_type": "client_credentials"}
        assert endpoint.forms == [plain, {**plain, "scope": "a b", "audience": "somabrain"}]


def test_credentials_drop_state_of_closed_event_loops() -> None:
    """Credentials that outlive event loops, such as those of one `asyncio.run` per task, keep only the last of them."""
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def call_twice() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(source(), source())

    with token_endpoint({"access_token": "abc", "expires_in": None}) as endpoint:
        source = ClientCredentials(endpoint.url, "agent", "secret")
        for _ in range(3):
            asyncio.run(call_twice())
    gc.collect()
    assert [loop() is None for loop in loops] == [True, True, False]


def test_credentials_are_shared_between_event_loops(brain: ServiceProcess, idp: Issuer) -> None:
    """Two blocking clients that fetch a token at the same moment do not disturb each other."""
    with token_endpoint({"access_token": idp.token("shared")}) as endpoint:
        source = ClientCredentials(endpoint.url, "agent", "secret")
        failures: list[Exception] = []

        def call(client: SyncMemoryClient) -> None:
            try:
                for _ in range(5):
                    list(client.list_namespaces())
            except Exception as exc:  # noqa: BLE001 - it is what the test looks for
                failures.append(exc)

        with (
            SyncMemoryClient(brain.address, token=source) as first,
            SyncMemoryClient(brain.address, token=source) as second,
        ):
            threads = [threading.Thread(target=call, args=(client,)) for client in (first, second) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert failures == []


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
async def test_environment_proxy_is_used_only_when_enabled(
    brain: ServiceProcess, idp: Issuer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """No proxy listens at the address of the variable: only the client that uses it cannot connect."""
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    port = brain.address.rpartition(":")[2]
    for address in (f"localhost:{port}", f"dns:///localhost:{port}", brain.address):
        async with MemoryClient(address, token=idp.token("proxy"), deadline_s=10) as client:
            assert [each async for each in client.list_namespaces()] == []
        async with MemoryClient(address, token=idp.token("proxy"), deadline_s=1, use_http_proxy=True) as client:
            with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
                await client.get_namespace("notes")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
async def test_loopback_token_endpoint_bypasses_proxy(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with token_endpoint({"access_token": "abc"}) as endpoint:
        for host in ("127.0.0.1", "localhost"):
            url = endpoint.url.replace("127.0.0.1", host)
            assert await ClientCredentials(url, "agent", "secret")() == "abc"


def somabrain(brain: ServiceProcess, token: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("somabrain")
    command: list[str | Path] = [script, "--address", brain.address, "--token-file", token, *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)


def test_cli_round_trip(brain: ServiceProcess, idp: Issuer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(idp.token("command-line"))
    assert somabrain(brain, token, "namespace", "create", "notes").stdout == "namespaces/notes\n"
    remembered = somabrain(brain, token, "remember", "notes", "The bees swarmed in May.", "--label", "topic=bees")
    name = remembered.stdout.strip()
    assert name.startswith("namespaces/notes/memories/")
    read = somabrain(brain, token, "remember", "notes", "-", "--session", "s", text="The mill burned down.")
    assert read.returncode == 0
    recalled = somabrain(
        brain, token, "recall", "notes", "When did the bees swarm?", "--top-k", "1"
    ).stdout.splitlines()
    assert name in recalled[0]
    assert recalled[1].strip() == "The bees swarmed in May."
    assert recalled[2].strip().startswith("lexical 1.000 (absolute ")
    assert "topic=bees" in somabrain(brain, token, "get", name).stdout
    assert "session s, position 0" in somabrain(brain, token, "list", "notes").stdout
    assert somabrain(brain, token, "forget", name).stdout == f"forgotten: {name}\n"
    missing = somabrain(brain, token, "get", name)
    assert missing.returncode == 1
    assert missing.stderr.startswith(f"somabrain: NOT_FOUND: {name} does not exist.")
    assert "Traceback" not in missing.stderr


def test_missing_token_file_is_reported(brain: ServiceProcess, tmp_path: Path) -> None:
    done = somabrain(brain, tmp_path / "nothing", "list", "notes")
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr
