"""Touch, sessions and subjects over the wire, by the client and by the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_client import Filter
from somabrain_client.errors import InvalidArgumentError, NotFoundError
from tests.integration.service.command_line import SCRIPT, run
from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def test_client_touches_and_refreshes_memories(connect: Connect) -> None:
    """TouchMemory, GetMemory, ListMemories and Recall extend expire_time; version, revision, etag, update_time stay."""
    async with connect("touch") as client:
        await client.create_namespace("n")
        stored = await client.upsert("n", "a", "bees", ttl=HOUR)
        version = (await client.get_namespace("n")).version
        touched = await client.touch(stored.name, 2 * HOUR)
        assert stored.expire_time is not None
        expiries = [stored.expire_time, touched.expire_time]
        expiries.append((await client.get(stored.name, refresh_ttl=3 * HOUR)).expire_time)
        expiries += [memory.expire_time async for memory in client.list("n", refresh_ttl=4 * HOUR)]
        expiries += [hit.memory.expire_time for hit in (await client.recall("n", "bees", refresh_ttl=5 * HOUR)).hits]
        ends = [end for end in expiries if end is not None]
        assert len(ends) == 5
        assert ends == sorted(set(ends))
        assert ends[-1] > datetime.now(UTC) + 4.9 * HOUR
        now = await client.get(stored.name)
        assert (now.revision, now.etag, now.update_time) == (stored.revision, stored.etag, stored.update_time)
        assert (await client.get_namespace("n")).version == version
        assert [former async for former in client.revisions(stored.name)] == []
        with pytest.raises(NotFoundError):
            await client.touch("namespaces/n/keys/none", HOUR)
        with pytest.raises(InvalidArgumentError):
            await client.touch(stored.name, timedelta(0))
        with pytest.raises(InvalidArgumentError):
            await client._transport.call(client._memories.TouchMemory, pb.TouchMemoryRequest(name=stored.name))


async def test_client_lists_sessions_and_subjects(connect: Connect) -> None:
    async with connect("groups") as client:
        await client.create_namespace("n")
        for number in range(7):
            await client.remember("n", "x", session=f"s{number % 3}", subject="ada" if number % 2 else "")
        sessions = [group async for group in client.list_sessions("n", page_size=2)]
        assert [(group.value, group.memory_count) for group in sessions] == [("s0", 3), ("s1", 2), ("s2", 2)]
        subjects = [group async for group in client.list_subjects("n", where=Filter(sessions=("s1",)))]
        assert [(group.value, group.memory_count) for group in subjects] == [("ada", 1)]
        last = max([memory.create_time async for memory in client.list("n")])
        assert max(group.last_create_time for group in sessions) == last
        assert all(group.last_update_time == group.last_create_time for group in sessions)


def test_cli_touches_memories_and_lists_groups(brain: ServiceProcess, idp: Issuer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(idp.token("touch-cli"))
    cli = [str(SCRIPT), "--address", brain.address, "--token-file", str(token)]
    assert run([*cli, "namespace", "create", "n"]).returncode == 0
    assert run([*cli, "remember", "n", "bees", "--session", "s", "--subject", "ada", "--key", "k"]).returncode == 0
    assert b"expires never" in run([*cli, "touch", "namespaces/n/keys/k", "60"]).stdout
    assert run([*cli, "touch", "namespaces/n/keys/k", "0"]).returncode == 1
    assert run([*cli, "sessions", "n"]).stdout.endswith(b"     1  s\n")
    assert run([*cli, "subjects", "n"]).stdout.endswith(b"     1  ada\n")
    assert b'"memory_count": 1' in run([*cli, "sessions", "n", "--json"]).stdout
