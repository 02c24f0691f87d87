"""Keys over the wire: the client and the command line address memories by key, and server kills break none."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from devcluster.loopback.server_process import free_ports
from somabrain.memory.v1 import memory_pb2
from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_client import Change, Filter, Memory, MemoryClient, RetryPolicy, key_name
from somabrain_client.errors import AbortedError, AlreadyExistsError, InvalidArgumentError, NotFoundError
from tests.integration.service.command_line import SCRIPT, run
from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess, service

PATIENT = RetryPolicy(max_attempts=60)
WRITERS = 32
TEXTS_PER_WRITER = 4


async def kill(folder: Path, settings: dict[str, object], victim: ServiceProcess, stack: ExitStack) -> None:
    """Kill a server three times, and start it again at the same address."""
    for _ in range(3):
        await asyncio.sleep(0.7)
        victim.process.kill()
        await asyncio.to_thread(victim.process.wait)
        victim = stack.enter_context(service(folder, settings))
    await asyncio.to_thread(victim.wait_until_ready)


@pytest.mark.timeout(300)
async def test_concurrent_upserts_of_one_key_survive_server_kills(
    folder: Path, settings: dict[str, object], brain: ServiceProcess, idp: Issuer
) -> None:
    """One memory is left; each acknowledged text is in its revisions exactly once."""
    (port,) = free_ports(1)
    settings = {**settings, "grpc__port": port}
    token = idp.token("upserts-under-kills", life_s=3600)
    acknowledged: list[str] = []
    with ExitStack() as stack:
        victim = stack.enter_context(service(folder, settings))
        victim.wait_until_ready()
        clients = [
            MemoryClient(address, token=token, retry=PATIENT, deadline_s=120)
            for address in (victim.address, brain.address)
        ]
        await clients[0].create_namespace("one")

        async def write(number: int) -> None:
            for count in range(TEXTS_PER_WRITER):
                text = f"text {count} of {number}"
                while True:
                    try:
                        await clients[number % 2].upsert("one", "the/key", text, request_id=text)
                    except AbortedError:
                        continue  # not written, as the status says
                    break
                acknowledged.append(text)
                await asyncio.sleep(0.3)

        async with asyncio.TaskGroup() as group:
            group.create_task(kill(folder, settings, victim, stack))
            for number in range(WRITERS):
                group.create_task(write(number))
        memories = [memory async for memory in clients[1].list("one")]
        revisions = [former.text async for former in clients[1].revisions(key_name("one", "the/key"))]
        unanswered = sum(client.attempts.unavailable for client in clients)
        for client in clients:
            await client.__aexit__(None, None, None)
    assert unanswered > 0
    (left,) = memories
    assert sorted([left.text, *revisions]) == sorted(acknowledged)
    assert len(acknowledged) == WRITERS * TEXTS_PER_WRITER


async def test_client_handles_keys_in_every_call(connect: Connect) -> None:
    """Create if absent, upsert, get, rename, list by prefix and forget, by the Python client."""
    async with connect("keys") as client:
        await client.create_namespace("files")
        first = await client.remember("files", "one", key="a/1.md")
        second = await client.upsert("files", "a/2.md", "two", etag="absent", labels={"n": "2"})
        await client.upsert("files", "b", "three")
        with pytest.raises(AlreadyExistsError) as taken:
            await client.upsert("files", "a/2.md", "again", etag="absent")
        assert second.name in str(taken.value)
        with pytest.raises(AbortedError):
            await client.upsert("files", "a/2.md", "again", etag=first.etag)
        changed = await client.upsert("files", "a/2.md", "2", etag=second.etag)
        assert (changed.name, changed.labels, changed.revision) == (second.name, {}, 2)
        listed = client.list("files", where=Filter(key_prefix="a/"), order_by="key desc", page_size=1)
        assert [(memory.key, memory.text) async for memory in listed] == [("a/2.md", "2"), ("a/1.md", "one")]
        await client.update(key_name("files", "a/1.md"), key="c")
        with pytest.raises(NotFoundError):
            await client.get(key_name("files", "a/1.md"))
        assert await client.get(key_name("files", "c")) == await client.get(first.name)
        await client.forget(key_name("files", "c"))
        assert sorted([memory.key async for memory in client.list("files")]) == ["a/2.md", "b"]


async def test_watch_and_export_include_keys(connect: Connect) -> None:
    async with connect("keys-carried") as client:
        await client.create_namespace("files")
        begun = await anext(client.watch("files"))
        await client.upsert("files", "a", "one")
        await client.update(key_name("files", "a"), key="b")
        exported = [entry.memory.key async for page in client.export("files") for entry in page.memories]
        assert exported == ["b"]
        async for event in client.watch("files", cursor=begun.cursor, include_memory=True):
            if isinstance(event, Change) and event.revision == 2:
                assert event.memory is not None
                assert event.memory.key == "b"
                break


async def test_update_without_key_in_mask_preserves_key(connect: Connect) -> None:
    """The mask `*` of a former client, and one without the key, leave it."""
    async with connect("keys-former") as client:
        await client.create_namespace("files")
        stored = await client.upsert("files", "a", "one")
        for mask in (["*"], ["text"], []):
            request = pb.UpdateMemoryRequest(memory=memory_pb2.Memory(name=stored.name, text=f"text {mask}"))
            if mask:
                request.update_mask.paths.extend(mask)
            answer = await client._transport.call(client._memories.UpdateMemory, request)
            assert answer.memory.key == "a"


@pytest.mark.parametrize(
    ("name", "allow_missing", "etag"),
    [
        ("namespaces/files/keys/", False, ""),
        ("namespaces/files/keys/" + "k" * 2049, False, ""),
        ("namespaces/files/keys/a\0b", False, ""),
        ("namespaces/FILES/keys/a", False, ""),
        ("namespaces/files/memories/0000000000000001", True, ""),
        ("namespaces/files/keys/a", False, "absent"),
    ],
)
async def test_invalid_name_by_key_is_invalid_argument(
    connect: Connect, name: str, allow_missing: bool, etag: str
) -> None:
    async with connect("keys-hostile") as client:
        request = pb.UpdateMemoryRequest(
            memory=memory_pb2.Memory(name=name, text="x", etag=etag), allow_missing=allow_missing
        )
        with pytest.raises(InvalidArgumentError):
            await client._transport.call(client._memories.UpdateMemory, request)


async def test_unset_or_foreign_key_is_not_found(connect: Connect) -> None:
    async with connect("keys-mine") as mine, connect("keys-theirs") as theirs:
        await theirs.create_namespace("files")
        await theirs.upsert("files", "a", "theirs")
        for call in (
            mine.get(key_name("files", "a")),
            mine.upsert("files", "a", "x"),
            mine.forget(key_name("files", "a")),
        ):
            with pytest.raises(NotFoundError):
                await call
        await mine.create_namespace("files")
        stored = await mine.upsert("files", "a", "mine")
        assert isinstance(stored, Memory)
        assert (await theirs.get(key_name("files", "a"))).text == "theirs"


def test_cli_addresses_memories_by_key(brain: ServiceProcess, idp: Issuer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(idp.token("keys-cli"))
    cli = [str(SCRIPT), "--address", brain.address, "--token-file", str(token)]
    assert run([*cli, "namespace", "create", "files"]).returncode == 0
    assert b"revision 1" in run([*cli, "put", "files", "a/b", "one"]).stdout
    assert b"revision 2" in run([*cli, "put", "files", "a/b", "two"]).stdout
    assert run([*cli, "put", "files", "a/b", "no", "--etag", "absent"]).returncode == 1
    assert b"two" in run([*cli, "get", "namespaces/files/keys/a/b"]).stdout
    assert b"revision 3" in run([*cli, "rename", "namespaces/files/keys/a/b", "a/c"]).stdout
    assert b"key a/c" in run([*cli, "list", "files", "--key-prefix", "a/", "--order-by", "key"]).stdout
    assert b"two" not in run([*cli, "list", "files", "--key-prefix", "b"]).stdout
    export = tmp_path / "export.jsonl"
    assert run([*cli, "export", "files", str(export)]).returncode == 0
    assert run([*cli, "namespace", "create", "copy"]).returncode == 0
    assert run([*cli, "import", "copy", str(export)]).returncode == 0
    assert b"two" in run([*cli, "get", "namespaces/copy/keys/a/c"]).stdout
