"""Flags in a real etcd: read, watched, unchanged while it is unavailable, and set by the command."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from common.config.settings import FlagSettings
from common.errors import ConfigurationError
from common.utils.etcd_client import RESYNC_PERIOD_S, EtcdClient, EtcdUnavailable, PrefixWatcher
from devcluster import shell
from devcluster.loopback import Etcd, etcd, etcd_cluster
from devcluster.loopback.etcd import ROOT, ROOT_PASSWORD, etcd_process
from devcluster.loopback.server_process import running as process_running
from devcluster.pki import CertificateAuthority
from tests.integration.service.answering import NESTED, serving
from tests.integration.service.delay_proxy import delay_proxy
from tests.integration.service.service_process import ServiceProcess, run, service
from tests.support.waiting import until_async

PREFIX = "/somabrain/flags"
SOON_S = 8.0


@pytest.fixture
def store() -> Iterator[Etcd]:
    with etcd() as running:
        yield running


class Recorder:
    """The last values that a follower reported, and how often it reported."""

    def __init__(self, settings: FlagSettings, resync_period_s: float) -> None:
        self.client = EtcdClient(settings)
        self.follower = PrefixWatcher(self.client, f"{PREFIX}/", self._on_update, resync_period_s=resync_period_s)
        self.values: Mapping[str, str] = {}
        self.updates = 0

    def _on_update(self, values: Mapping[str, str]) -> None:
        self.values = {key.removeprefix(f"{PREFIX}/"): value for key, value in values.items()}
        self.updates += 1

    async def becomes(self, **values: str) -> None:
        await until_async(lambda: self.values == values)


def written(member: Etcd, key: str, value: str) -> bool:
    """Return whether a member accepted a value; no member does while a leader is being elected."""
    try:
        member.put(key, value)
    except urllib.error.HTTPError:
        return False
    return True


@asynccontextmanager
async def followed(settings: FlagSettings, resync_period_s: float = RESYNC_PERIOD_S) -> AsyncIterator[Recorder]:
    recorder = Recorder(settings, resync_period_s)
    async with recorder.client, asyncio.TaskGroup() as tasks:
        following = tasks.create_task(recorder.follower.run())
        try:
            yield recorder
        finally:
            following.cancel()


def settings(*members: Etcd, **more: object) -> FlagSettings:
    return FlagSettings.model_validate({"endpoints": [member.url for member in members], "timeout_s": 1, **more})


async def test_flag_changes_are_reported_as_they_happen(store: Etcd) -> None:
    store.put(f"{PREFIX}/a", "1")
    async with followed(settings(store)) as recorder:
        await recorder.becomes(a="1")
        store.put(f"{PREFIX}/b", "ünïcode")
        await recorder.becomes(a="1", b="ünïcode")
        store.delete(f"{PREFIX}/a")
        await recorder.becomes(b="ünïcode")
        store.put("/somabrain/flagstone", "no flag")
        store.put(f"{PREFIX}/b", "")
        await recorder.becomes(b="")


async def test_compaction_and_restart_lose_no_flag_change(store: Etcd) -> None:
    """Changes that were compacted before a restart are read after it: a list needs no history."""
    store.put(f"{PREFIX}/a", "1")
    async with followed(settings(store)) as recorder:
        await recorder.becomes(a="1")
        store.process.stop()
        await until_async(lambda: not recorder.follower.check.ok)
        assert "does not answer" in recorder.follower.check.reason
        assert "the last known values stay in effect" in recorder.follower.check.reason
        assert recorder.values == {"a": "1"}
        store.process.start()
        for number in range(5):
            revision = store.put(f"{PREFIX}/a", str(number))
        store.compact(revision)
        await recorder.becomes(a="4")
        assert recorder.follower.check.ok
        assert (recorder.follower.check.latency_s or 0) > 0


async def test_watch_from_compacted_revision_ends(store: Etcd) -> None:
    """Such a watch ends without changes, so that the follower starts over with a list instead of waiting forever."""
    first = store.put(f"{PREFIX}/a", "1")
    store.compact(store.put(f"{PREFIX}/a", "2"))
    async with EtcdClient(settings(store)) as client, asyncio.timeout(SOON_S):
        assert [changes async for changes in client.watch(f"{PREFIX}/", first)] == []


async def test_hung_etcd_is_detected_and_last_values_stay_in_effect(store: Etcd) -> None:
    """An open but silent connection is detected at the next resync, and the last values stay in effect until then."""
    store.put(f"{PREFIX}/a", "1")
    async with followed(settings(store), resync_period_s=1.0) as recorder:
        await recorder.becomes(a="1")
        store.process.freeze()
        await until_async(lambda: not recorder.follower.check.ok)
        assert recorder.values == {"a": "1"}
        store.process.thaw()
        await until_async(lambda: recorder.follower.check.ok)


async def test_slow_etcd_is_unavailable_until_it_recovers(store: Etcd) -> None:
    store.put(f"{PREFIX}/a", "1")
    async with delay_proxy(int(store.url.rpartition(":")[2])) as way:
        chosen = FlagSettings(endpoints=(f"http://127.0.0.1:{way.port}",), timeout_s=1)
        async with followed(chosen, resync_period_s=0.5) as recorder:
            await recorder.becomes(a="1")
            way.delay_s = 5.0
            await until_async(lambda: not recorder.follower.check.ok)
            assert "no answer in time" in recorder.follower.check.reason
            assert recorder.values == {"a": "1"}
            store.put(f"{PREFIX}/a", "2")
            way.delay_s = 0.0
            await recorder.becomes(a="2")


async def test_resync_reports_only_changed_flags(store: Etcd) -> None:
    store.put(f"{PREFIX}/a", "1")
    async with followed(settings(store), resync_period_s=0.1) as recorder:
        await recorder.becomes(a="1")
        await asyncio.sleep(1)
        assert recorder.updates == 1


async def test_other_members_are_queried_when_one_is_lost() -> None:
    with etcd_cluster() as members:
        async with followed(settings(*members)) as recorder:
            for number, member in enumerate(members):
                await until_async(lambda: recorder.follower.check.ok)
                members[number - 1].put(f"{PREFIX}/a", str(number))
                await recorder.becomes(a=str(number))
                member.process.stop()
                await until_async(partial(written, members[number - 1], f"{PREFIX}/a", f"{number} again"))
                await recorder.becomes(a=f"{number} again")
                member.process.start()


@pytest.mark.parametrize(
    "body",
    ["{}", "[]", "null", "7", "<html>", NESTED, '{"header": 7}', '{"header": {"revision": "x"}}'],
    ids=lambda body: body[:30],
)
async def test_server_that_is_not_etcd_is_reported_and_next_member_queried(store: Etcd, body: str) -> None:
    """Another server's response neither ends the watch nor counts: the reason names it; the next member is queried."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body)

    async with serving(answer) as url:
        async with EtcdClient(FlagSettings(endpoints=(url,))) as alone:
            watcher = PrefixWatcher(alone, "/flags/", lambda _: None)
            assert await watcher.relist() is None
            assert "etcd does not answer" in watcher.check.reason
            with pytest.raises(EtcdUnavailable):
                await alone.put("/flags/a", "1")
            with pytest.raises(EtcdUnavailable):
                await alone.get("/flags/a")
            with pytest.raises(EtcdUnavailable):
                await alone.delete("/flags/a")
        async with EtcdClient(FlagSettings(endpoints=(url, store.url))) as both:
            await both.put("/flags/a", "1")
            assert await both.get("/flags/a") == "1"


@pytest.mark.parametrize("pairs", ["7", '[{"value": "eA=="}]', '[{"key": "x"}]', "[7]"])
async def test_malformed_keys_are_an_error(pairs: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=f'{{"header": {{"revision": "1"}}, "kvs": {pairs}}}')

    async with serving(answer) as url, EtcdClient(FlagSettings(endpoints=(url,))) as client:
        with pytest.raises(EtcdUnavailable, match="a response that is not etcd's"):
            await client.get_prefix("/flags/")


@pytest.mark.parametrize("line", ["7", "[]", NESTED, '{"result": []}', '{"result": {"events": [7]}}'])
async def test_malformed_watch_response_ends_with_an_error(line: str) -> None:
    """The watcher lists again then, as after any other failure."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=f"{line}\n")

    async with (
        serving(answer) as url,
        EtcdClient(FlagSettings(endpoints=(url,))) as client,
        aclosing(client.watch("/flags/", 1)) as batches,
    ):
        with pytest.raises(EtcdUnavailable):
            await anext(batches)


async def test_etcd_tls_and_password_are_used() -> None:
    with etcd(tls=True) as store:
        store.put(f"{PREFIX}/a", "1")
        store.require_password("flags", "the password", f"{PREFIX}/")
        chosen = {"ca_file": store.ca_file, "username": "flags", "password": "the password"}
        async with followed(settings(store, **chosen)) as recorder:
            await recorder.becomes(a="1")
            await recorder.client.put(f"{PREFIX}/a", "2")
            await recorder.becomes(a="2")
            # It forgets the tokens that it gave.
            store.process.restart()
            await until_async(lambda: recorder.follower.check.ok)
            await recorder.client.put(f"{PREFIX}/a", "3")
            await recorder.becomes(a="3")
            with pytest.raises(EtcdUnavailable, match="permission denied"):
                await recorder.client.put("/elsewhere", "1")
        for wrong, message in (
            ({"password": "another"}, "invalid user ID or password"),
            ({"username": None, "password": None}, "user name is empty"),
            ({"ca_file": None}, "certificate verify failed"),
        ):
            async with EtcdClient(settings(store, **(chosen | wrong))) as client:
                with pytest.raises(EtcdUnavailable, match=message):
                    await client.get_prefix(f"{PREFIX}/")


async def test_renewed_etcd_ca_is_reloaded(tmp_path: Path) -> None:
    """Once the file has both authorities, flags are followed whichever of them signed the member's certificate."""
    with etcd(tls=True) as store:
        assert store.ca_file is not None
        store.put(f"{PREFIX}/a", "1")
        former, trusted = store.ca_file.read_text(), tmp_path / "trusted.crt"
        trusted.write_text(former)
        async with followed(settings(store, ca_file=trusted), resync_period_s=0.2) as recorder:
            await recorder.becomes(a="1")
            # The member reads its certificate at each handshake.
            renewed = CertificateAuthority.create(tmp_path / "renewed")
            renewed.issue_server("etcd", "/CN=etcd", ["DNS:localhost", "IP:127.0.0.1"])
            for name in ("etcd.crt", "etcd.key"):
                (store.ca_file.parent / name).write_bytes((renewed.folder / name).read_bytes())
            await until_async(lambda: "certificate verify failed" in recorder.follower.check.reason)
            trusted.write_text(former + renewed.certificate.read_text())
            await until_async(lambda: recorder.follower.check.ok)
            await recorder.client.put(f"{PREFIX}/a", "2")
            await recorder.becomes(a="2")


@pytest.mark.parametrize("kind", ["simple", "jwt"])
async def test_etcd_token_is_renewed_after_user_or_password_change(tmp_path: Path, kind: str) -> None:
    """Whichever way etcd refuses it: a signed token is of an old revision, any other one is unknown."""
    with etcd_with_tokens(tmp_path, kind) as store:
        store.require_password("flags", "first", f"{PREFIX}/")
        now = settings(store, username="flags", password="first")
        async with EtcdClient(now, lambda: now) as client:
            await client.put(f"{PREFIX}/a", "1")
            administer(store, "auth/user/add", {"name": "another", "password": "p"})
            assert await client.put(f"{PREFIX}/a", "2") == "1"
            administer(store, "auth/user/changepw", {"name": "flags", "password": "second"})
            with pytest.raises(EtcdUnavailable, match="invalid user ID or password"):
                await client.get(f"{PREFIX}/a")
            now = settings(store, username="flags", password="second")
            assert await client.get(f"{PREFIX}/a") == "2"
            # While authentication is off, no token is to be had and none is needed.
            administer(store, "auth/disable", {})
            now = settings(store, username="flags", password="third")
            assert await client.get(f"{PREFIX}/a") == "2"


@contextmanager
def etcd_with_tokens(folder: Path, kind: str) -> Iterator[Etcd]:
    """An etcd with this kind of tokens: `simple`, which a member remembers, or `jwt`, which are signed."""
    store = etcd_process(folder)
    if kind == "jwt":
        key, public = folder / "token.key", folder / "token.pub"
        shell.run(["openssl", "genrsa", "-out", key, "2048"])
        shell.run(["openssl", "rsa", "-in", key, "-pubout", "-out", public])
        option = f"jwt,pub-key={public},priv-key={key},sign-method=RS256,ttl=10m"
        store.process.argv = [*store.process.argv, "--auth-token", option]
    with process_running(store.process):
        yield store


def administer(store: Etcd, path: str, body: Mapping[str, str]) -> None:
    """Send a request as root."""

    def post(path: str, body: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
        request = urllib.request.Request(f"{store.url}/v3/{path}", json.dumps(body).encode(), dict(headers))
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: dict[str, str] = json.load(response)
            return answer

    token = post("auth/authenticate", {"name": ROOT, "password": ROOT_PASSWORD}, {})["token"]
    post(path, body, {"Authorization": token})


async def test_client_certificate_is_presented_to_etcd() -> None:
    with etcd(tls=True, mutual=True) as store:
        assert store.ca_file is not None
        own = {"cert_file": store.ca_file.parent / "client.crt", "key_file": store.ca_file.parent / "client.key"}
        async with EtcdClient(settings(store, ca_file=store.ca_file, **own)) as client:
            assert await client.put(f"{PREFIX}/a", "1") is None
            assert await client.get(f"{PREFIX}/a") == "1"
        async with EtcdClient(settings(store, ca_file=store.ca_file)) as client:
            with pytest.raises(EtcdUnavailable):
                await client.get_prefix(f"{PREFIX}/")


@pytest.mark.parametrize("name", ["ca_file", "cert_file"])
async def test_invalid_pem_file_fails_startup(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=rf"flags\.{name}"):
        async with EtcdClient(FlagSettings.model_validate({name: tmp_path / "file"})):
            pass


def test_flags_command_lists_sets_and_clears(store: Etcd) -> None:
    """Every change prints the flag's former value; a tenant's value takes precedence over the global one."""
    options = {"flags__endpoints": json.dumps([store.url]), "quota__memories": 1000}

    def output(*arguments: str) -> str:
        done = run(options, "flags", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = {line.split()[0]: line.split()[1:3] for line in output("list").splitlines() if line[:1].strip()}
    assert listed["dense_recall"] == ["true", "default"]
    assert listed["memories"] == ["1000", "settings"]
    assert "Recall ranks by vectors as well" in output("list")
    assert output("set", "contiguity", "false") == "contiguity for all tenants: was not set, is false (global)\n"
    assert output("set", "contiguity", "true", "--tenant", "a/b ü") == (
        "contiguity for the tenant a/b ü: was not set, is true (tenant)\n"
    )
    assert store.get(f"{PREFIX}/tenants/a%2Fb%20%C3%BC/contiguity") == "true"
    assert "only for the tenant a/b ü: contiguity true" in output("list")
    assert "contiguity           true   tenant" in output("list", "--tenant", "a/b ü")
    assert "contiguity           false  global" in output("list", "--tenant", "another")
    assert output("clear", "contiguity", "--tenant", "a/b ü") == (
        "contiguity for the tenant a/b ü: was true, is false (global)\n"
    )
    assert output("clear", "contiguity") == "contiguity for all tenants: was false, is true (default)\n"
    assert output("clear", "contiguity") == "contiguity for all tenants: was not set, is true (default)\n"
    assert output("set", "requests_per_second", "2.5") == (
        "requests_per_second for all tenants: was not set, is 2.5 (global)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("set", "dense_recal", "true"), "Unknown flag dense_recal. Did you mean dense_recall?"),
        (("clear", "sesame"), "Unknown flag sesame. Known flags: recall_cache, "),
        (("set", "dense_recall", "maybe"), "dense_recall: must be true or false, not 'maybe'."),
        (
            ("set", "memories", "1.5"),
            "memories: must be a whole number from 0 (no limit) to 1e+15, not '1.5'.",
        ),
        (("set", "memories", "-1"), "memories: must be a whole number"),
        (("set", "requests_per_second", "nan"), "requests_per_second: must be a number from 0"),
        (("set", "dense_recall", "true", "--tenant", ""), "--tenant: must not be empty"),
        (("set", "dense_recall", "true"), "flags.endpoints: is empty"),
    ],
)
def test_unknown_flag_or_invalid_value_is_refused_with_remedy(arguments: tuple[str, ...], message: str) -> None:
    done = run({}, "flags", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_flags_command_lists_defaults_without_etcd() -> None:
    done = run({}, "flags", "list")
    assert done.returncode == 0
    assert "No etcd is configured" in done.stdout
    assert "dense_recall" in done.stdout


def checks(running: ServiceProcess) -> dict[str, dict[str, object]]:
    result: dict[str, dict[str, object]] = json.loads(running.get("/healthz")[1])["checks"]
    return result


async def test_service_reports_invalid_flags_and_etcd_outage(
    folder: Path, settings: dict[str, object], store: Etcd
) -> None:
    """/healthz, metrics and log report an invalid value and an unreachable etcd, while the service stays ready."""
    store.put(f"{PREFIX}/global/contiguity", "sometimes")
    with service(folder, {**settings, "flags__endpoints": json.dumps([store.url])}) as running:
        running.wait_until_ready()
        assert checks(running)["etcd"]["status"] == "ok"
        problem = f"{PREFIX}/global/contiguity: must be true or false; it is ignored."
        assert checks(running)["etcd"]["notes"] == [problem]
        assert [event["problem"] for event in running.events("invalid flag in etcd")] == [problem]
        assert "somabrain_flag_problems 1.0" in running.get("/metrics")[1]
        assert 'somabrain_dependency_up{dependency="etcd"} 1.0' in running.get("/metrics")[1]
        store.put(f"{PREFIX}/global/contiguity", "false")
        await until_async(lambda: "notes" not in checks(running)["etcd"])
        store.put(f"{PREFIX}/global/contiguity", "never")
        await until_async(lambda: "notes" in checks(running)["etcd"])
        assert "false, its last valid value, is used" in str(checks(running)["etcd"]["notes"])
        store.process.stop()
        await until_async(lambda: checks(running)["etcd"]["status"] == "failing")
        status, body = running.get("/healthz")
        assert (status, json.loads(body)["status"]) == (200, "degraded")
        assert running.get("/ready")[0] == 200
        assert 'somabrain_dependency_up{dependency="etcd"} 0.0' in running.get("/metrics")[1]
        assert len(running.events("etcd unavailable")) == 1


def test_service_starts_with_flag_defaults_without_etcd(folder: Path, settings: dict[str, object]) -> None:
    with service(folder, {**settings, "flags__endpoints": '["http://127.0.0.1:1"]'}) as running:
        running.wait_until_ready()
        assert "the defaults are in effect, because it was never read" in str(checks(running)["etcd"]["reason"])
