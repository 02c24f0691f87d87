"""Start and stop of the process."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from somabrain_client import MemoryClient, RetryPolicy
from somabrain_client.errors import UnavailableError
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess, run, service
from tests.support.clones import Clone

ONCE = RetryPolicy(max_attempts=1)


async def test_sigterm_completes_call_in_flight(
    folder: Path, settings: dict[str, object], postgres: Clone, idp: Issuer
) -> None:
    """A write that waits for another session's lock at SIGTERM is acknowledged once the lock is released."""
    import psycopg

    with service(folder, settings) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("drain"), retry=ONCE) as client:
            await client.create_namespace("drain")
            async with await psycopg.AsyncConnection.connect(postgres.owner_dsn) as holder:
                await holder.execute("LOCK TABLE memories IN ACCESS EXCLUSIVE MODE")
                writing = asyncio.create_task(client.remember("drain", "kept while draining"))
                await asyncio.sleep(0.5)
                assert not writing.done()
                running.process.send_signal(signal.SIGTERM)
                running.wait_for_event("draining")
                await asyncio.sleep(0.3)
                assert running.process.poll() is None
                await holder.rollback()
            memory = await writing
        assert await asyncio.to_thread(running.process.wait, 20) == 0
        assert running.events("stopped")
    with service(folder, settings) as again:
        again.wait_until_ready()
        async with MemoryClient(again.address, token=idp.token("drain")) as client:
            assert (await client.get(memory.name)).text == "kept while draining"


async def test_shutdown_delay_reports_not_serving_before_refusing_calls(
    folder: Path, settings: dict[str, object], idp: Issuer
) -> None:
    """During the shutdown delay /ready is 503 and calls still succeed; afterwards connections are refused."""
    with service(folder, {**settings, "grpc__shutdown_delay_s": 2}) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("notice"), retry=ONCE) as client:
            await client.create_namespace("notice")
            running.process.send_signal(signal.SIGTERM)
            running.wait_for_event("draining")
            status, body = running.get("/ready")
            assert status == 503
            assert "draining" in body
            await client.remember("notice", "still accepted")
            assert await asyncio.to_thread(running.process.wait, 20) == 0
            with pytest.raises(UnavailableError):
                await client.remember("notice", "too late")
            assert client.attempts.unavailable == 1


def test_second_signal_exits_immediately(folder: Path, settings: dict[str, object]) -> None:
    with service(folder, {**settings, "grpc__shutdown_delay_s": 30}) as running:
        running.process.send_signal(signal.SIGTERM)
        running.wait_for_event("draining")
        assert running.stop(signal.SIGTERM) == 128 + signal.SIGTERM


def test_two_servers_cannot_share_a_port(brain: ServiceProcess, settings: dict[str, object]) -> None:
    port = brain.address.split(":")[1]
    done = run({**settings, "grpc__port": port}, "serve")
    assert (done.returncode, f"grpc.port: 127.0.0.1:{port} cannot be bound" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


WRONG = [
    ({}, ["serve"], "SOMABRAIN_POSTGRES_DSN"),
    ({}, ["migrate"], "SOMABRAIN_OWNER_DSN"),
    ({"postgres_dns": "x"}, ["serve"], "did you mean SOMABRAIN_POSTGRES_DSN?"),
    ({"grpc__port": 99999}, ["serve"], "SOMABRAIN_GRPC__PORT: must be less than or equal to 65535"),
    ({"auth__mode": "none", "postgres_dsn": "postgresql://x/y"}, ["serve"], "set grpc.host to 127.0.0.1"),
    ({"auth__tenant_claim": "tenant", "postgres_dsn": "postgresql://x/y"}, ["serve"], "auth.tenant_claim"),
    ({"policy__enabled": "false"}, ["serve"], "policy.enabled"),
]


@pytest.mark.parametrize(("settings_", "arguments", "message"), WRONG)
def test_invalid_settings_fail_startup_with_a_message(
    settings_: dict[str, object], arguments: list[str], message: str
) -> None:
    done = run(settings_, *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_termination_log_of_failed_migration_has_no_secrets(tmp_path: Path) -> None:
    """The termination log, which `kubectl describe` shows, has one message without the password."""
    last_words = tmp_path / "termination-log"
    last_words.touch()
    dsn = "postgresql://app:hunter2@127.0.0.1:1/somabrain"
    done = run({"owner_dsn": dsn, "termination_log": last_words}, "migrate")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    message = last_words.read_text()
    assert message
    assert message in done.stderr
    assert len(message.splitlines()) == 1
    assert "hunter2" not in message + done.stdout + done.stderr


def test_image_start_command_migrates_and_serves(folder: Path, settings: dict[str, object], unmigrated: Clone) -> None:
    """`start`, the command of the image, migrates the schema and serves; a second start has nothing to migrate."""
    own = {**settings, "postgres_dsn": unmigrated.app_dsn, "owner_dsn": unmigrated.owner_dsn}
    for message in ("Migrating the schema from nothing", "nothing to migrate"):
        with service(folder, own, "start") as running:
            running.wait_until_ready()
            assert message in running.log.read_text()
            assert running.stop() == 0


async def test_embedded_command_serves_and_preserves_memories(folder: Path) -> None:
    """One command serves with its own PostgreSQL, no tokens and the default encoder; memories survive a restart."""
    own = {"grpc__port": 0, "http__port": 0, "log__format": "json"}
    arguments = ("serve", "--embedded", "--data-dir", str(folder / "laptop"))
    with service(folder, own, *arguments) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address) as client:
            await client.create_namespace("notes")
            await client.remember("notes", "The keys are under the flower pot.")
            answer = await client.recall("notes", "How do I get into the house?")
        assert [hit.memory.text for hit in answer.hits] == ["The keys are under the flower pot."]
        assert answer.encoder_id == "minilm-l6-v2-int8"
        assert running.stop() == 0
    with service(folder, own, *arguments) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address) as client:
            assert [memory.text async for memory in client.list("notes")] == ["The keys are under the flower pot."]
        assert running.stop(signal.SIGINT) == 0
