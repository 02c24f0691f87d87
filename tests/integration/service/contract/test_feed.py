"""Watches and exports over gRPC: every change once, in commit order, whatever happens to the server."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import psycopg
import pytest
from google.protobuf.duration_pb2 import Duration

from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain.memory.v1 import memory_service_pb2_grpc, namespace_service_pb2, namespace_service_pb2_grpc
from somabrain_client import ChangeType, Checkpoint, Filter, Memory, MemoryClient, MemoryDraft, RetryPolicy
from somabrain_client.errors import (
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from tests.integration.service.change_feed import changes, current_cursor
from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer, bearer
from tests.integration.service.namespaces import notes, unique
from tests.integration.service.postgres import postgres as postgres_server
from tests.integration.service.service_process import ServiceProcess, service
from tests.support.clones import Clone
from tests.support.waiting import eventually_async


async def test_watchers_see_each_change_once_despite_server_kill(
    folder: Path, settings: dict[str, object], idp: Issuer
) -> None:
    """Each watcher sees each change once, in the same order, although the server is killed (kill -9) and restarted."""
    token, port = idp.token("feed-killed"), 0
    with service(folder, settings) as first:
        first.wait_until_ready()
        port = int(first.address.rpartition(":")[2])
        client = MemoryClient(first.address, token=token, deadline_s=60)
        await client.create_namespace("log")
        cursor = await current_cursor(client, "log")
        written: list[str] = []

        async def write(writer: int) -> None:
            for number in range(20):
                memory = await client.remember("log", f"writer {writer} number {number}")
                written.append(memory.name)
                if number % 5 == 0:
                    await client.forget(memory.name, allow_missing=True)
                await asyncio.sleep(0.03)

        total = 8 * (20 + 4)
        watching = [asyncio.create_task(changes(client, "log", cursor, total)) for _ in range(3)]
        writing = [asyncio.create_task(write(writer)) for writer in range(8)]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in writing)
        first.process.kill()
        await asyncio.to_thread(first.process.wait)
    with service(folder, {**settings, "grpc__port": port}) as second:
        await asyncio.to_thread(second.wait_until_ready)
        await asyncio.gather(*writing)
        watcher_changes = await asyncio.wait_for(asyncio.gather(*watching), 60)
        assert client.attempts.unavailable > 0
        from_the_start = await changes(client, "log", cursor, total)
        await client.__aexit__(None, None, None)
    assert len(set(written)) == 160
    assert watcher_changes == [from_the_start] * 3
    assert len({change.cursor for change in from_the_start}) == total
    remembered = [change.name for change in from_the_start if change.type is ChangeType.REMEMBERED]
    forgotten = [change.name for change in from_the_start if change.type is ChangeType.FORGOTTEN]
    assert sorted(remembered) == sorted(written)
    assert len(set(forgotten)) == len(forgotten) == 32
    assert set(forgotten) <= set(written)


async def test_watch_includes_memory_on_request_and_forget_event_has_none(connect: Connect) -> None:
    async with connect("feed-forget") as client:
        namespace = await notes(client)
        cursor = await current_cursor(client, namespace)
        memory = await client.remember(namespace, "kept")
        forgotten = await client.remember(namespace, "gone")
        watching = asyncio.create_task(changes(client, namespace, cursor, 3, include_memory=True))
        await client.forget(forgotten.name)
        events = await watching
        assert [(change.type.name, change.name) for change in events] == [
            ("REMEMBERED", memory.name),
            ("REMEMBERED", forgotten.name),
            ("FORGOTTEN", forgotten.name),
        ]
        assert events[0].memory == memory
        assert events[2].memory is None
        assert [change.memory for change in await changes(client, namespace, cursor, 3)] == [None, None, None]
        resumed = await changes(client, namespace, events[0].cursor, 2, include_memory=True)
        assert [(change.name, change.memory) for change in resumed] == [(forgotten.name, None), (forgotten.name, None)]


async def test_idle_watch_sends_checkpoints_that_can_be_resumed(connect: Connect) -> None:
    async with connect("feed-idle") as client:
        namespace = await notes(client)
        async with aclosing(client.watch(namespace)) as events:
            checkpoints = [await anext(events), await asyncio.wait_for(anext(events), 10)]
        assert all(isinstance(event, Checkpoint) for event in checkpoints)
        memory = await client.remember(namespace, "later")
        assert [change.name for change in await changes(client, namespace, checkpoints[1].cursor, 1)] == [memory.name]


async def test_cursor_is_bound_to_tenant_and_namespace_and_tamper_proof(connect: Connect) -> None:
    """A cursor is refused if it is altered, or used for another namespace or tenant, which learns nothing from it."""
    async with connect("feed-a") as ours, connect("feed-b") as theirs:
        namespace, other = await notes(ours), await notes(ours)
        cursor = await current_cursor(ours, namespace)
        with pytest.raises(NotFoundError):
            await current_cursor(theirs, namespace)
        await theirs.create_namespace(namespace)
        await ours.remember(namespace, "ours alone")
        for client, parent, sent in (
            (ours, namespace, cursor[:-4] + "AAAA"),
            (ours, namespace, "!"),
            (ours, namespace, "x" * 3000),
            (ours, other, cursor),
            (theirs, namespace, cursor),
        ):
            with pytest.raises(InvalidArgumentError) as caught:
                await changes(client, parent, sent, 1)
            assert list(caught.value.details.fields) == ["cursor"]
        async with aclosing(theirs.watch(namespace)) as events:
            assert isinstance(await anext(events), Checkpoint)
            assert isinstance(await asyncio.wait_for(anext(events), 10), Checkpoint)


async def test_cursor_before_retained_feed_is_out_of_range(
    brain: ServiceProcess, connect: Connect, idp: Issuer
) -> None:
    namespace = unique()
    async with grpc.aio.insecure_channel(brain.address) as channel, connect() as client:
        request = namespace_service_pb2.CreateNamespaceRequest(namespace_id=namespace)
        request.namespace.settings.feed_retention.CopyFrom(Duration(seconds=1))
        stub = namespace_service_pb2_grpc.NamespaceServiceStub(channel)
        await stub.CreateNamespace(request, metadata=bearer(idp))
        cursor = await current_cursor(client, namespace)
        first = await client.remember(namespace, "soon too old")
        [change] = await changes(client, namespace, cursor, 1)
        await asyncio.sleep(1.1)
        with pytest.raises(OutOfRangeError, match="export the namespace"):
            await changes(client, namespace, cursor, 1)
        second = await client.remember(namespace, "young")
        assert [event.name for event in await changes(client, namespace, change.cursor, 1)] == [second.name]
        pages = [page async for page in client.export(namespace)]
        assert [item.memory for item in pages[0].memories] == [first, second]


async def test_cursor_of_another_epoch_is_out_of_range(connect: Connect, postgres: Clone) -> None:
    async with connect("feed-epoch") as client:
        namespace = await notes(client)
        cursor = await current_cursor(client, namespace)
        async with await psycopg.AsyncConnection.connect(postgres.owner_dsn) as owner:
            await owner.execute(
                "UPDATE namespaces SET epoch = 'restored' WHERE name = %s", (namespace.removeprefix("namespaces/"),)
            )
        with pytest.raises(OutOfRangeError):
            await changes(client, namespace, cursor, 1)


async def test_stream_ends_when_token_expires_and_client_resumes(
    brain: ServiceProcess, idp: Issuer, connect: Connect
) -> None:
    async with connect("feed-exp") as writer:
        namespace = await notes(writer)
        async with grpc.aio.insecure_channel(brain.address) as channel:
            stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
            metadata = (("authorization", f"Bearer {idp.token('feed-exp', life_s=2)}"),)
            started = time.monotonic()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in stub.WatchMemories(pb.WatchMemoriesRequest(parent=namespace), metadata=metadata):
                    pass
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert 1 < time.monotonic() - started < 6
        async with MemoryClient(brain.address, token=lambda: idp.token("feed-exp", life_s=2)) as client:
            watching = asyncio.create_task(changes(client, namespace, await current_cursor(client, namespace), 1))
            await asyncio.sleep(3)
            memory = await writer.remember(namespace, "after the first token")
            assert [change.name for change in await asyncio.wait_for(watching, 20)] == [memory.name]
        async with MemoryClient(brain.address, token=idp.token("feed-exp", life_s=-60)) as stranger:
            with pytest.raises(UnauthenticatedError):
                await current_cursor(stranger, namespace)


async def test_drain_ends_watch_with_unavailable(folder: Path, settings: dict[str, object], idp: Issuer) -> None:
    with service(folder, settings) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token()) as client:
            namespace = await notes(client)
        async with grpc.aio.insecure_channel(running.address) as channel:
            stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
            call = stub.WatchMemories(pb.WatchMemoriesRequest(parent=namespace), metadata=bearer(idp))
            first = await call.read()
            assert isinstance(first, pb.WatchMemoriesResponse)
            assert first.HasField("checkpoint")
            running.process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "resume from the last cursor" in (caught.value.details() or "")
        assert await asyncio.to_thread(running.process.wait, 10) == 0


async def test_ended_watches_are_released_and_excess_watches_refused(
    brain: ServiceProcess, connect: Connect, idp: Issuer
) -> None:
    """Watches that are cancelled or reach their deadline are released; the 257th concurrent one is refused."""

    def in_flight() -> float:
        name = 'grpc_server_in_flight{grpc_method="WatchMemories"'
        return sum(float(line.split()[-1]) for line in brain.get("/metrics")[1].splitlines() if line.startswith(name))

    async def until(count: float) -> None:
        await eventually_async(lambda: asyncio.to_thread(in_flight), lambda value: value == count, f"{count:g} watches")

    await until(0)
    async with connect("a") as client, grpc.aio.insecure_channel(brain.address) as channel:
        namespace = await notes(client)
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        request = pb.WatchMemoriesRequest(parent=namespace)
        with pytest.raises(grpc.aio.AioRpcError) as late:
            async for _ in stub.WatchMemories(request, metadata=bearer(idp), timeout=1):
                pass
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(0)
        calls = [stub.WatchMemories(request, metadata=bearer(idp)) for _ in range(256)]
        await asyncio.gather(*(call.read() for call in calls))
        with pytest.raises(ResourceExhaustedError, match="256 watches"):
            await current_cursor(client, namespace)
        assert await asyncio.to_thread(in_flight) == 256
        for call in calls:
            call.cancel()
        await until(0)
        await current_cursor(client, namespace)


async def test_export_followed_by_watch_yields_everything_once(
    connect: Connect, idp: Issuer, brain: ServiceProcess
) -> None:
    """The pair yields every memory once, also when the export is resumed and the namespace changes meanwhile."""
    async with connect("feed-export") as client, grpc.aio.insecure_channel(brain.address) as channel:
        namespace = await notes(client)
        texts = [f"{number} " + "x" * 60_000 for number in range(110)]
        memories = [await client.remember(namespace, text, labels={"n": str(i % 2)}) for i, text in enumerate(texts)]
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        metadata = (("authorization", f"Bearer {idp.token('feed-export')}"),)
        call = stub.ExportMemories(pb.ExportMemoriesRequest(parent=namespace), metadata=metadata)
        first = await call.read()
        assert isinstance(first, pb.ExportMemoriesResponse)
        call.cancel()
        assert 0 < len(first.memories) < 110
        assert first.ByteSize() <= 3 * 1024 * 1024
        late = await client.remember(namespace, "while it streams")
        await client.forget(memories[-1].name)
        rest = [page async for page in client.export(namespace, resume_token=first.resume_token)]
        names = [item.memory.name for item in first.memories] + [
            item.memory.name for page in rest for item in page.memories
        ]
        assert names == [memory.name for memory in memories[:-1]]
        assert {page.cursor for page in rest} == {first.cursor}
        events = await changes(client, namespace, first.cursor, 2)
        assert [(change.type.name, change.name) for change in events] == [
            ("REMEMBERED", late.name),
            ("FORGOTTEN", memories[-1].name),
        ]
        chosen = [page async for page in client.export(namespace, where=Filter(labels={"n": "1"}))]
        assert [item.memory for page in chosen for item in page.memories] == memories[1:-1:2]
        for sent in (first.resume_token[:-4] + "AAAA", chosen[0].resume_token, first.cursor):
            with pytest.raises(InvalidArgumentError) as caught:
                [page async for page in client.export(namespace, resume_token=sent)]
            assert list(caught.value.details.fields) == ["resume_token"]
        assert [
            page.memories for page in [p async for p in client.export(namespace, resume_token=rest[-1].resume_token)]
        ] == [()]


async def test_export_of_empty_namespace_has_one_page_with_cursor(connect: Connect) -> None:
    async with connect("feed-empty") as client:
        namespace = await notes(client)
        [page] = [page async for page in client.export(namespace)]
        memory = await client.remember(namespace, "first", ttl=timedelta(hours=1))
        assert page.memories == ()
        assert [change.name for change in await changes(client, namespace, page.cursor, 1)] == [memory.name]


async def test_export_includes_vectors_on_request(folder: Path, settings: dict[str, object], idp: Issuer) -> None:
    with service(folder, {**settings, "encoder__kind": "minilm-l6-v2-int8"}) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("feed-vectors")) as client:
            namespace = await notes(client)
            await client.remember(namespace, "by the encoder")
            own = [1.0] + [0.0] * 383
            await client.remember(namespace, "by the caller", vector=own)
            [page] = [page async for page in client.export(namespace, include_vectors=True)]
            [bare] = [page async for page in client.export(namespace)]
    assert [item.encoder_id for item in page.memories] == ["minilm-l6-v2-int8"] * 2
    assert page.memories[1].vector == tuple(own)
    assert page.memories[0].vector is not None
    assert abs(sum(value * value for value in page.memories[0].vector) - 1) < 1e-2
    assert [item.vector for item in bare.memories] == [None, None]


async def test_watch_survives_max_connection_age(folder: Path, settings: dict[str, object], idp: Issuer) -> None:
    """Every change arrives once, although each connection is closed after a second."""
    aged = {**settings, "grpc__max_connection_age_s": 1, "grpc__drain_s": 1}
    with service(folder, aged) as running:
        running.wait_until_ready()
        async with MemoryClient(running.address, token=idp.token("feed-age")) as client:
            namespace = await notes(client)
            cursor = await current_cursor(client, namespace)
            async with MemoryClient(running.address, token=idp.token("feed-age")) as watcher:
                watching = asyncio.create_task(changes(watcher, namespace, cursor, 50))
                names = []
                for number in range(50):
                    names.append((await client.remember(namespace, f"number {number}")).name)
                    await asyncio.sleep(0.1)
                assert [change.name for change in await asyncio.wait_for(watching, 20)] == names
                assert watcher.attempts.unavailable > 0


async def test_slow_consumer_is_backpressured_and_ends_with_its_token(
    brain: ServiceProcess, idp: Issuer, connect: Connect
) -> None:
    """The server reads no further than the consumer does, so its memory does not grow with the feed."""

    def resident_kib() -> int:
        status = Path(f"/proc/{brain.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    async with connect("feed-slow") as client, grpc.aio.insecure_channel(brain.address) as channel:
        namespace = await notes(client)
        cursor = await current_cursor(client, namespace)
        await asyncio.gather(*(client.remember(namespace, f"{i} " + "x" * 60_000) for i in range(400)))
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        request = pb.WatchMemoriesRequest(parent=namespace, cursor=cursor, include_memory=True)
        before = resident_kib()
        metadata = (("authorization", f"Bearer {idp.token('feed-slow', life_s=4)}"),)
        call = stub.WatchMemories(request, metadata=metadata)
        assert await call.read()
        await asyncio.sleep(2)
        assert resident_kib() - before < 12_000
        await asyncio.sleep(4)
        taken: list[object] = []

        async def read_remaining() -> None:
            while len(taken) < 400:
                taken.append(await call.read())

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read_remaining()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_watches_resume_after_postgresql_kill(folder: Path, settings: dict[str, object], idp: Issuer) -> None:
    """All watchers of the namespace get UNAVAILABLE, resume, and see each change once."""
    with (
        postgres_server(folder / "feed-postgres") as database,
        service(folder, {**settings, "postgres_dsn": database.start()}) as running,
    ):
        running.wait_until_ready()
        patient = RetryPolicy(max_attempts=60)
        async with MemoryClient(running.address, token=idp.token(), retry=patient, deadline_s=60) as client:
            namespace = await notes(client)
            cursor = await current_cursor(client, namespace)
            watching = [asyncio.create_task(changes(client, namespace, cursor, 2)) for _ in range(3)]
            first = await client.remember(namespace, "before")
            await asyncio.sleep(1)
            await asyncio.to_thread(database.kill)
            await asyncio.sleep(2)
            assert client.attempts.unavailable >= 3
            await asyncio.to_thread(database.start)
            second = await client.remember(namespace, "after")
            for events in await asyncio.wait_for(asyncio.gather(*watching), 60):
                assert [change.name for change in events] == [first.name, second.name]


async def test_batch_yields_one_event_per_memory_and_update_yields_one(connect: Connect) -> None:
    """A batch is one version with many ordinals, and a watch can resume in the middle of it."""
    async with connect("feed-batch") as client:
        namespace = await notes(client)
        cursor = await current_cursor(client, namespace)
        results = await client.batch_remember(namespace, [MemoryDraft(f"number {number}") for number in range(40)])
        names = [memory.name for memory in results if isinstance(memory, Memory)]
        events = await changes(client, namespace, cursor, 40, include_memory=True)
        assert [change.name for change in events] == names
        assert [change.memory for change in events] == list(results)
        assert [change.name for change in await changes(client, namespace, events[24].cursor, 15)] == names[25:]
        changed = await client.update(names[0], text="otherwise")
        [update] = await changes(client, namespace, events[-1].cursor, 1, include_memory=True)
        assert (update.type, update.memory, update.revision) == (ChangeType.UPDATED, changed, 2)
