"""Changes published to a real Kafka: in order and at least once, although processes are killed or stopped meanwhile."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import grpc
import grpc.aio
import psycopg
import pytest
from pydantic import SecretStr

from common.config.settings import EventsSettings
from common.errors import Unavailable
from devcluster.loopback import Kafka, kafka
from devcluster.loopback.kafka import PASSWORD as KAFKA_PASSWORD
from devcluster.loopback.kafka import USER as KAFKA_USER
from devcluster.pki import CertificateAuthority
from somabrain.memory.v1 import memory_pb2, memory_service_pb2, memory_service_pb2_grpc
from somabrain_client import ChangeType, MemoryClient, MemoryDraft
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.events.cloudevents import FEED_START, OutboxCursor, build_deletion_event
from somabrain_service.events.kafka_health import KafkaHealth
from somabrain_service.events.publisher import Publisher
from tests.integration.service.change_feed import changes, current_cursor
from tests.integration.service.issuer import Issuer
from tests.integration.service.kafka_events import Event, deduplicated, read_events, wait_for_events
from tests.integration.service.metrics import series
from tests.integration.service.namespaces import unique
from tests.integration.service.postgres import postgres as postgres_server
from tests.integration.service.service_process import ServiceProcess, service
from tests.support.clones import Clone
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def log() -> Iterator[Kafka]:
    with kafka() as running:
        yield running


@pytest.fixture
def topic(log: Kafka) -> str:
    """A topic for one test."""
    name = f"events-{unique()}"
    log.create_topic(name, partitions=3)
    return name


@pytest.fixture
def event_settings(settings: dict[str, object], database: Clone, log: Kafka, topic: str) -> dict[str, object]:
    """Settings of a service that publishes to Kafka, on a separate database."""
    return {
        **settings,
        "postgres_dsn": database.app_dsn,
        "worker_dsn": database.worker_dsn,
        "events__brokers": f'["{log.bootstrap}"]',
        "events__topic": topic,
        "events__poll_interval_s": 0.05,
        "events__timeout_s": 5,
    }


def is_leader(running: ServiceProcess) -> bool:
    return series(running, 'somabrain_background_job_leader{job="relay",shard="0"}') == 1


def lag_s(running: ServiceProcess) -> float:
    return series(running, 'somabrain_background_job_lag_seconds{job="relay",shard="0"}')


def memory_changes(events: list[Event]) -> list[tuple[str, str]]:
    """Kind and memory of the changes among events."""
    return [(event["data"]["change"], event["data"]["memory"]) for event in events if "change" in event["data"]]


def unbroken(events: list[Event]) -> None:
    """Assert that a consumer that drops duplicates misses nothing: the versions of each namespace rise by one."""
    last: dict[str, int] = {}
    for event in deduplicated(events):
        version = event["data"]["version"]
        assert version in {last.get(event["source"], 0), last.get(event["source"], 0) + 1}, event
        last[event["source"]] = version


async def test_events_are_published_in_order_without_text(
    folder: Path, event_settings: dict[str, object], log: Kafka, topic: str, idp: Issuer
) -> None:
    with service(folder, event_settings) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("told")) as client:
            names = [(await client.create_namespace(unique())).name for _ in range(4)]
            expected: dict[str, list[tuple[str, str]]] = {}
            for name in names:
                cursor = await current_cursor(client, name)
                one = await client.remember(name, "the quixotic bee")
                await client.update(one.name, salience=0.9)
                await client.batch_remember(name, [MemoryDraft(f"quixotic {i}") for i in range(3)])
                await client.forget(one.name)
                expected[name] = [(c.type.name, c.name) for c in await changes(client, name, cursor, 6)]
        events = await asyncio.to_thread(wait_for_events, log.bootstrap, topic, lambda received: len(received) >= 24)
    assert len(events) == 24
    unbroken(events)
    for name in names:
        mine = [event for event in events if event["data"]["namespace"] == name]
        assert memory_changes(mine) == expected[name]
        assert {event["source"] for event in mine} == {f"/somabrain/tenants/{mine[0]['data']['tenant']}/{name}"}
        assert [event["type"].split(".")[3] for event in mine] == [kind.lower() for kind, _ in expected[name]]
    assert "quixotic" not in str(events)


async def test_event_carries_trace_context_of_its_call(
    folder: Path, event_settings: dict[str, object], log: Kafka, topic: str, idp: Issuer
) -> None:
    """A consumer can join the caller's trace; the event of a call that is not traced has no traceparent."""
    traced, untraced = secrets.token_hex(16), secrets.token_hex(16)
    token, name = idp.token("traced-events"), unique()
    own = {"trace__endpoint": "http://127.0.0.1:9", "trace__timeout_s": 1, "trace__sample_ratio": 0}
    with service(folder, {**event_settings, **own}) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=token) as client:
            await client.create_namespace(name)
        async with grpc.aio.insecure_channel(running.address) as channel:
            stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
            for trace, trace_flags in ((traced, "01"), (untraced, "00")):
                await stub.Remember(
                    memory_service_pb2.RememberRequest(
                        parent=f"namespaces/{name}", memory=memory_pb2.Memory(text=f"of {trace_flags}")
                    ),
                    metadata=(
                        ("authorization", f"Bearer {token}"),
                        ("traceparent", f"00-{trace}-{secrets.token_hex(8)}-{trace_flags}"),
                    ),
                )
        first, second = await asyncio.to_thread(
            wait_for_events, log.bootstrap, topic, lambda received: len(received) >= 2
        )
    assert first["traceparent"].split("-")[1] == traced
    assert "traceparent" not in second


async def test_repeated_service_kills_lose_no_event(
    folder: Path, event_settings: dict[str, object], log: Kafka, topic: str, idp: Issuer
) -> None:
    """kill -9 under writers loses no event and breaks no order, whichever step the publisher was at."""
    token, port = idp.token("killed"), 0
    names: list[str] = []
    for death in range(4):
        with service(folder, {**event_settings, "grpc__port": port}) as running:
            running.wait_until_ready()
            port = int(running.address.rpartition(":")[2])
            async with MemoryClient(running.address, token=token, deadline_s=30) as client:
                if not death:
                    await client.create_namespace("log")
                until(lambda: is_leader(running), "the relay works")
                names += [(await client.remember("log", f"bee {death} {i}")).name for i in range(40)]
            running.process.send_signal(signal.SIGKILL)
            running.process.wait()
    with service(folder, event_settings) as running:
        running.wait_until_ready()
        events = await asyncio.to_thread(
            wait_for_events,
            log.bootstrap,
            topic,
            lambda received: {name for _, name in memory_changes(received)} >= set(names),
        )
    unbroken(events)
    assert memory_changes(deduplicated(events)) == [("REMEMBERED", name) for name in names]


async def test_crash_between_delivery_and_checkpoint_repeats_but_loses_nothing(
    folder: Path, event_settings: dict[str, object], database: Clone, log: Kafka, topic: str, idp: Issuer
) -> None:
    """A kill between delivery and its record repeats an event and loses none; a lock on the row forces that crash."""
    with service(folder, event_settings) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("between")) as client:
            namespace = (await client.create_namespace(unique())).name
            first = await client.remember(namespace, "first")
            await asyncio.to_thread(wait_for_events, log.bootstrap, topic, lambda received: len(received) == 1)
            with psycopg.connect(database.owner_dsn) as owner:
                until(lambda: owner.execute("SELECT count(*) FROM relayed").fetchone() == (1,), "the first is noted")
                owner.execute("SELECT FROM relayed FOR UPDATE")
                second = await client.remember(namespace, "second")
                await asyncio.to_thread(wait_for_events, log.bootstrap, topic, lambda received: len(received) == 2)
                running.process.kill()
                running.process.wait()
    with service(folder, event_settings) as running:
        running.wait_until_ready()
        events = await asyncio.to_thread(wait_for_events, log.bootstrap, topic, lambda received: len(received) == 3)
    assert [name for _, name in memory_changes(events)] == [first.name, second.name, second.name]
    assert events[1] == events[2]
    assert [name for _, name in memory_changes(deduplicated(events))] == [first.name, second.name]


def kafka_check(running: ServiceProcess) -> dict[str, object]:
    """The check of Kafka in /healthz; asserts as well that the service stays healthy or degraded."""
    status, body = running.get("/healthz")
    health = json.loads(body)
    assert status == 200
    assert health["status"] == ("ok" if health["checks"]["kafka"]["status"] == "ok" else "degraded")
    check: dict[str, object] = health["checks"]["kafka"]
    return check


async def test_kafka_outage_delays_events_without_loss(
    folder: Path, event_settings: dict[str, object], log: Kafka, topic: str, idp: Issuer
) -> None:
    """Without Kafka calls succeed, the lag rises and the log has the reason; afterwards all events are published."""
    with service(folder, event_settings) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("away")) as client:
            namespace = (await client.create_namespace(unique())).name
            names = [(await client.remember(namespace, "before")).name]
            await asyncio.to_thread(wait_for_events, log.bootstrap, topic, lambda received: len(received) == 1)
            log.process.stop()
            try:
                names += [(await client.remember(namespace, f"during {i}")).name for i in range(30)]
                until(lambda: lag_s(running) > 3, "the lag is seen")
                record = running.wait_for_event("background job failed")
                assert record["work"] == "relay"
                assert "Kafka" in str(record["reason"])
                assert running.get("/ready")[0] == 200
                until(lambda: kafka_check(running)["status"] == "failing", "/healthz says that Kafka is away")
                assert str(kafka_check(running)["reason"]).startswith("Kafka does not answer: ")
            finally:
                log.process.start()
            names.append((await client.remember(namespace, "after")).name)
        events = await asyncio.to_thread(
            wait_for_events, log.bootstrap, topic, lambda received: len(memory_changes(deduplicated(received))) == 32
        )
        until(lambda: lag_s(running) < 1, "the lag is gone")
        until(lambda: "latency_ms" in kafka_check(running), "/healthz says that Kafka is back")
    unbroken(events)
    assert [name for _, name in memory_changes(deduplicated(events))] == names


async def test_frozen_kafka_does_not_block_calls_or_reorder_events(
    folder: Path, event_settings: dict[str, object], log: Kafka, topic: str, idp: Issuer
) -> None:
    """Kafka accepts connections but answers none for longer than the publisher waits; events still arrive in order."""
    with service(folder, event_settings) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("frozen")) as client:
            namespace = (await client.create_namespace(unique())).name
            names = [(await client.remember(namespace, "before")).name]
            await asyncio.to_thread(wait_for_events, log.bootstrap, topic, lambda received: len(received) == 1)
            log.process.freeze()
            try:
                for i in range(3):
                    names += [(await client.remember(namespace, f"during {i} {j}")).name for j in range(20)]
                    await asyncio.sleep(3)
                running.wait_for_event("background job failed")
            finally:
                log.process.thaw()
            names.append((await client.remember(namespace, "after")).name)
        events = await asyncio.to_thread(
            wait_for_events, log.bootstrap, topic, lambda received: len(memory_changes(deduplicated(received))) == 62
        )
    unbroken(events)
    assert [name for _, name in memory_changes(deduplicated(events))] == names


async def test_only_leader_publishes_and_standby_process_takes_over(
    folder: Path, event_settings: dict[str, object], log: Kafka, topic: str, idp: Issuer
) -> None:
    with service(folder, event_settings) as first:
        first.wait_until_ready()
        until(lambda: is_leader(first), "the first process relays")
        with service(folder, event_settings) as second:
            second.wait_until_ready()
            async with MemoryClient(second.address, token=idp.token("two")) as client:
                namespace = (await client.create_namespace(unique())).name
                names = [(await client.remember(namespace, f"bee {i}")).name for i in range(20)]
                events = await asyncio.to_thread(
                    wait_for_events, log.bootstrap, topic, lambda received: len(received) >= 20
                )
                assert [name for _, name in memory_changes(events)] == names
                assert not is_leader(second)
                assert first.stop() == 0
                until(lambda: is_leader(second), "the second process relays")
                names += [(await client.remember(namespace, f"late bee {i}")).name for i in range(20)]
            events = await asyncio.to_thread(
                wait_for_events,
                log.bootstrap,
                topic,
                lambda received: len(memory_changes(deduplicated(received))) == 40,
            )
    unbroken(events)
    assert [name for _, name in memory_changes(deduplicated(events))] == names


async def test_publisher_survives_postgresql_kill(
    folder: Path, event_settings: dict[str, object], log: Kafka, topic: str, idp: Issuer
) -> None:
    with postgres_server(folder / "events-killed") as server:
        app_dsn = server.start()
        chosen = {**event_settings, "postgres_dsn": app_dsn, "worker_dsn": app_dsn.replace("_app", "_worker")}
        with service(folder, chosen) as running:
            running.wait_until_ready()
            async with MemoryClient(running.address, token=idp.token("pg"), deadline_s=60) as client:
                namespace = (await client.create_namespace(unique())).name
                names = [(await client.remember(namespace, f"bee {i}")).name for i in range(10)]
                server.kill()
                server.start()
                running.wait_until_ready()
                names += [(await client.remember(namespace, f"late {i}")).name for i in range(10)]
            events = await asyncio.to_thread(
                wait_for_events,
                log.bootstrap,
                topic,
                lambda received: len(memory_changes(deduplicated(received))) == 20,
            )
    unbroken(events)
    assert [name for _, name in memory_changes(deduplicated(events))] == names


async def test_deleted_namespace_event_is_published_and_recreation_has_new_epoch(
    folder: Path, event_settings: dict[str, object], log: Kafka, topic: str, idp: Issuer
) -> None:
    with service(folder, event_settings) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("deleted")) as client:
            name = unique()
            namespace = (await client.create_namespace(name)).name
            await client.remember(namespace, "bee")
            await asyncio.to_thread(wait_for_events, log.bootstrap, topic, lambda received: len(received) == 1)
            await client.delete_namespace(namespace)
            await asyncio.to_thread(wait_for_events, log.bootstrap, topic, lambda received: len(received) == 2)
            await client.create_namespace(name)
            await client.remember(namespace, "another bee")
        events = await asyncio.to_thread(wait_for_events, log.bootstrap, topic, lambda received: len(received) == 3)
    assert [event["type"] for event in events] == [
        "io.somabrain.memory.remembered.v1",
        "io.somabrain.namespace.deleted.v1",
        "io.somabrain.memory.remembered.v1",
    ]
    assert events[0]["data"]["epoch"] == events[1]["data"]["epoch"] != events[2]["data"]["epoch"]
    assert events[1]["sequence"] > events[0]["sequence"]


async def test_kafka_with_tls_and_password(
    folder: Path, event_settings: dict[str, object], log: Kafka, topic: str, idp: Issuer
) -> None:
    secured = {
        **event_settings,
        "events__brokers": f'["{log.secured}"]',
        "events__security_protocol": "SASL_SSL",
        "events__ca_file": log.ca_file,
        "events__sasl_username": KAFKA_USER,
        "events__sasl_password": KAFKA_PASSWORD,
    }
    with service(folder, secured) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("secured")) as client:
            namespace = (await client.create_namespace(unique())).name
            name = (await client.remember(namespace, "bee")).name
        events = await asyncio.to_thread(wait_for_events, log.bootstrap, topic, lambda received: len(received) == 1)
        assert memory_changes(events) == [("REMEMBERED", name)]
        until(lambda: "latency_ms" in kafka_check(running), "/healthz says that Kafka answers")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"events__sasl_password": "sesame"}, "uthentication failed"), ({"events__ca_file": None}, "certificate")],
    ids=["password", "authority"],
)
async def test_kafka_authentication_failure_is_reported_without_password(
    folder: Path, event_settings: dict[str, object], log: Kafka, wrong: dict[str, object], reason: str
) -> None:
    secured = {
        **event_settings,
        "events__brokers": f'["{log.secured}"]',
        "events__security_protocol": "SASL_SSL",
        "events__ca_file": log.ca_file,
        "events__sasl_username": KAFKA_USER,
        "events__sasl_password": KAFKA_PASSWORD,
        **wrong,
    }
    with service(folder, {name: value for name, value in secured.items() if value is not None}) as running:
        running.wait_until_ready()
        until(lambda: reason in str(kafka_check(running)), f"/healthz says {reason}")
        assert "sesame" not in running.log.read_text()


async def test_renewed_kafka_ca_and_rotated_password_are_reloaded(log: Kafka, topic: str, tmp_path: Path) -> None:
    """The health check reloads them within a probe, the publisher with its next attempt, without a restart."""
    stranger = CertificateAuthority.create(tmp_path / "stranger")
    trusted = tmp_path / "trusted.crt"
    trusted.write_text(stranger.certificate.read_text())

    def secured(password: str) -> EventsSettings:
        return EventsSettings(
            brokers=(log.secured,),
            topic=topic,
            security_protocol="SASL_SSL",
            ca_file=trusted,
            timeout_s=5,
            sasl_username=KAFKA_USER,
            sasl_password=SecretStr(password),
        )

    now = secured("former")
    health, publisher = KafkaHealth(now, lambda: now), Publisher(now, lambda: now)
    watching = asyncio.create_task(health.watch())
    try:
        await asyncio.to_thread(until, lambda: "certificate" in health.last_check().reason, "it is not trusted")
        with pytest.raises(Unavailable, match="certificate"):
            await publisher.publish([])
        trusted.write_text(stranger.certificate.read_text() + log.ca_file.read_text())
        await asyncio.to_thread(until, lambda: "uthentication" in health.last_check().reason, "the password is refused")
        now = secured(KAFKA_PASSWORD)
        await asyncio.to_thread(until, lambda: health.last_check().ok, "Kafka answers")
        assert (await publisher.publish([])).reason == ""
    finally:
        watching.cancel()
        await publisher.close()


async def test_running_publisher_reloads_changed_ca_and_password(log: Kafka, topic: str, tmp_path: Path) -> None:
    """A withdrawn authority is not trusted any longer; an invalid PEM file keeps the previous producer in use."""
    trusted = tmp_path / "trusted.crt"
    trusted.write_text(log.ca_file.read_text())
    now = EventsSettings(
        brokers=(log.secured,),
        topic=topic,
        security_protocol="SASL_SSL",
        ca_file=trusted,
        timeout_s=5,
        sasl_username=KAFKA_USER,
        sasl_password=SecretStr(KAFKA_PASSWORD),
    )
    publisher = Publisher(now, lambda: now)
    try:
        assert (await publisher.publish([])).reason == ""
        trusted.write_text("-----BEGIN CERTIFICATE-----\nhalf of it")
        assert (await publisher.publish([])).reason == ""
        trusted.write_text(CertificateAuthority.create(tmp_path / "stranger").certificate.read_text())
        with pytest.raises(Unavailable, match="certificate"):
            await publisher.publish([])
        trusted.write_text(log.ca_file.read_text())
        assert (await publisher.publish([])).reason == ""
        now = now.model_copy(update={"sasl_password": SecretStr("wrong")})
        with pytest.raises(Unavailable, match="uthentication"):
            await publisher.publish([])
    finally:
        await publisher.close()


async def test_other_kafka_settings_are_not_reloaded(log: Kafka, topic: str) -> None:
    """Events stay in one topic, and the health check reports on it, although another one is configured meanwhile."""
    cursor = OutboxCursor(TenantId(UUID(int=7)), 3, NamespaceName("notes"), "e1", FEED_START)
    deletion = build_deletion_event("/somabrain", cursor, datetime.now(UTC))
    before = EventsSettings(brokers=(log.bootstrap,), topic=topic, timeout_s=5)
    after = EventsSettings(brokers=("127.0.0.1:1",), topic="nowhere", timeout_s=1)
    health, publisher = KafkaHealth(before, lambda: after), Publisher(before, lambda: after)
    watching = asyncio.create_task(health.watch())
    try:
        assert (await publisher.publish([deletion.events])).acknowledged == (True,)
        await asyncio.to_thread(until, lambda: health.last_check().ok, "Kafka has the topic")
        assert len(read_events(log.bootstrap, topic)) == 1
    finally:
        watching.cancel()
        await publisher.close()


async def test_missing_kafka_topic_is_named_in_the_log(
    folder: Path, event_settings: dict[str, object], idp: Issuer
) -> None:
    with service(folder, {**event_settings, "events__topic": "nowhere"}) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("nowhere")) as client:
            await client.remember((await client.create_namespace(unique())).name, "bee")
        record = running.wait_for_event("background job failed")
        assert "topic nowhere" in str(record["reason"])
        until(lambda: "topic nowhere" in str(kafka_check(running)), "/healthz names it, too")


async def test_example_consumer_deduplicates_after_restart(
    folder: Path,
    event_settings: dict[str, object],
    database: Clone,
    log: Kafka,
    topic: str,
    idp: Issuer,
    tmp_path: Path,
) -> None:
    """The example prints each change once, although the publisher's record is deleted and events are repeated."""
    program = [sys.executable, "examples/consume_events.py", log.bootstrap, topic, str(tmp_path / "place.json")]
    printed = tmp_path / "printed"

    def run_until(lines: int) -> list[str]:
        with printed.open("ab") as out, subprocess.Popen(program, stdout=out) as example:
            until(lambda: len(printed.read_text().splitlines()) >= lines, f"{lines} lines are printed")
            time.sleep(1)
            example.terminate()
        return printed.read_text().splitlines()

    with service(folder, event_settings) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("example")) as client:
            namespace = (await client.create_namespace(unique())).name
            names = [(await client.remember(namespace, f"bee {i}")).name for i in range(5)]
            lines = await asyncio.to_thread(run_until, 5)
            assert [line.split()[1:] for line in lines] == [
                ["io.somabrain.memory.remembered.v1", name] for name in names
            ]
            with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
                owner.execute("DELETE FROM relayed")
            await client.forget(names[0])
            lines = await asyncio.to_thread(run_until, 6)
    assert len(read_events(log.bootstrap, topic)) == 11
    assert lines[5].split()[1:] == ["io.somabrain.memory.forgotten.v1", names[0]]
    assert len(lines) == 6
    assert ChangeType.FORGOTTEN.name.lower() in lines[5]
