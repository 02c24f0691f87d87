"""The client and its command line against the real service."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from somabrain_client import MemoryClient
from somabrain_client.errors import DeadlineExceededError, UnauthenticatedError, UnavailableError
from tests.integration.conftest import Clone
from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess, service


async def test_a_restart_is_not_seen_through_the_default_retries(
    folder: Path, settings: dict[str, object], idp: Issuer
) -> None:
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


async def test_a_token_file_is_read_again_as_a_kubelet_rotates_it(
    brain: ServiceProcess, idp: Issuer, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(idp.token("rotated", life_s=-60))
    async with MemoryClient(brain.address, token=file) as client:
        with pytest.raises(UnauthenticatedError):
            await client.create_namespace("notes")
        file.write_text(idp.token("rotated") + "\n")
        await client.create_namespace("notes")


async def test_a_token_may_come_from_a_callable(brain: ServiceProcess, idp: Issuer) -> None:
    async def token() -> str:
        return idp.token("callable")

    async with MemoryClient(brain.address, token=token) as client:
        await client.create_namespace("notes")


async def test_a_deadline_ends_the_call_on_both_sides(connect: Connect, postgres: Clone) -> None:
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


async def test_nobody_there_is_unavailable_after_the_retries(idp: Issuer) -> None:
    async with MemoryClient("127.0.0.1:1", token=idp.token(), deadline_s=1.0) as client:
        with pytest.raises(UnavailableError):
            await client.recall("notes", "anything")
        assert client.attempts.calls == 1
        assert client.attempts.unavailable == client.attempts.attempts > 2


def somabrain(brain: ServiceProcess, token: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("somabrain")
    command: list[str | Path] = [script, "--address", brain.address, "--token-file", token, *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)


def test_the_command_line_does_the_whole_road(brain: ServiceProcess, idp: Issuer, tmp_path: Path) -> None:
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


def test_a_token_file_that_is_missing_is_a_sentence(brain: ServiceProcess, tmp_path: Path) -> None:
    done = somabrain(brain, tmp_path / "nothing", "list", "notes")
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr
