"""BatchRemember and BatchForget over gRPC: each item succeeds or fails separately."""

from __future__ import annotations

import uuid

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2 as details

from somabrain.memory.v1 import memory_pb2, memory_service_pb2, memory_service_pb2_grpc
from somabrain_client import Memory, MemoryDraft
from somabrain_client.errors import (
    AlreadyExistsError,
    CallError,
    InvalidArgumentError,
    NotFoundError,
    from_status,
)
from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer
from tests.integration.service.namespaces import notes
from tests.integration.service.service_process import ServiceProcess


def stored_memories(results: tuple[Memory | CallError, ...]) -> list[Memory]:
    assert [result for result in results if isinstance(result, CallError)] == []
    return [result for result in results if isinstance(result, Memory)]


async def test_batch_remember_preserves_order_and_is_recalled(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        drafts = [
            MemoryDraft(f"Bee number {i} came home.", session="s", labels={"n": str(i), "hive": "old"}, subject="ann")
            for i in range(500)
        ]
        memories = stored_memories(await client.batch_remember(namespace, drafts))
        assert [memory.text for memory in memories] == [draft.text for draft in drafts]
        assert [memory.session_position for memory in memories] == list(range(500))
        assert [memory async for memory in client.list(namespace, page_size=1000)] == memories
        assert (await client.recall(namespace, "bee number 311", top_k=1)).hits[0].memory == memories[311]
        assert (await client.remember(namespace, "last", session="s")).session_position == 500


async def test_failed_batch_item_reports_single_call_error_and_others_are_stored(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        await client.remember(namespace, "first", session="s", session_position=4)
        bad = (
            MemoryDraft("x" * 102_401),
            MemoryDraft("taken", session="s", session_position=4),
            MemoryDraft("", salience=3),
        )
        results = await client.batch_remember(
            namespace, [MemoryDraft("good"), *bad, MemoryDraft("good, too", session="s")]
        )
        for draft, result in zip(bad, results[1:4], strict=True):
            with pytest.raises(CallError) as alone:
                await client.remember(
                    namespace,
                    draft.text,
                    session=draft.session,
                    session_position=draft.session_position,
                    salience=draft.salience,
                )
            assert isinstance(result, type(alone.value))
            assert (result.message, result.reason) == (alone.value.message, alone.value.reason)
            assert result.details.fields == alone.value.details.fields
            assert result.details.request_id
        texts = [memory.text async for memory in client.list(namespace)]
        assert texts == ["first", "good", "good, too"]
        assert isinstance(results[4], Memory)
        assert results[4].session_position == 5


async def test_request_ids_are_per_item_and_shared_with_single_calls(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        mark = uuid.uuid4().hex
        single = await client.remember(namespace, "one", request_id=mark + "1")
        forgotten_memory = await client.remember(namespace, "gone", request_id=mark + "g")
        await client.forget(forgotten_memory.name)
        drafts = [
            MemoryDraft("one", request_id=mark + "1"),
            MemoryDraft("two", request_id=mark + "2"),
            MemoryDraft("two", request_id=mark + "2"),
            MemoryDraft("another two", request_id=mark + "2"),
            MemoryDraft("another one", request_id=mark + "1"),
            MemoryDraft("gone", request_id=mark + "g"),
        ]
        for _ in range(2):
            one, two, repeated, other_two, other_one, forgotten = await client.batch_remember(namespace, drafts)
            assert one == single
            assert isinstance(two, Memory)
            assert two == repeated
            assert isinstance(other_two, AlreadyExistsError)
            assert isinstance(other_one, AlreadyExistsError)
            assert isinstance(forgotten, NotFoundError)
            assert await client.remember(namespace, "two", request_id=mark + "2") == two
        assert [memory.text async for memory in client.list(namespace)] == ["one", "two"]


async def test_batch_over_limits_is_refused_as_a_whole(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        halves = MemoryDraft("x" * 51200, index_text="y" * 51200)
        for drafts in ([MemoryDraft("x")] * 501, [MemoryDraft("x" * 65536)] * 48, [halves] * 31):
            with pytest.raises(InvalidArgumentError) as caught:
                await client.batch_remember(namespace, drafts)
            assert list(caught.value.details.fields) == ["requests"]
        with pytest.raises(InvalidArgumentError):
            await client.batch_forget(namespace, [f"{namespace}/memories/{i:016x}" for i in range(501)])
        assert [memory async for memory in client.list(namespace)] == []
        assert len(stored_memories(await client.batch_remember(namespace, [MemoryDraft("x" * 65536)] * 47))) == 47
        assert await client.batch_remember(namespace, []) == ()
        with pytest.raises(NotFoundError):
            await client.batch_remember("nowhere", [MemoryDraft("x")])


async def test_batch_replay_over_response_limit_reports_failed_precondition(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        mark = uuid.uuid4().hex
        drafts = [MemoryDraft("small", request_id=f"{mark}{i}") for i in range(60)]
        for memory in stored_memories(await client.batch_remember(namespace, drafts)):
            await client.update(memory.name, text="x" * 65536)
        replayed = await client.batch_remember(namespace, drafts)
        grown = [result for result in replayed if isinstance(result, CallError)]
        assert 10 < len(grown) < 20
        assert {result.reason for result in grown} == {"FAILED_PRECONDITION"}


async def test_batch_item_with_wrong_parent_or_output_only_field_fails_alone(
    connect: Connect, brain: ServiceProcess, idp: Issuer
) -> None:
    async with connect() as client:
        namespace = await notes(client)
    memory = memory_pb2.Memory(text="x")
    request = memory_service_pb2.BatchRememberRequest(
        parent=namespace,
        requests=[
            memory_service_pb2.RememberRequest(parent=namespace, memory=memory),
            memory_service_pb2.RememberRequest(parent="namespaces/another", memory=memory),
            memory_service_pb2.RememberRequest(memory=memory_pb2.Memory(text="x", etag="e")),
            memory_service_pb2.RememberRequest(memory=memory, vector=memory_pb2.Vector(values=[float("nan")])),
        ],
    )
    async with grpc.aio.insecure_channel(brain.address) as channel:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        answer = await stub.BatchRemember(request, metadata=(("authorization", f"Bearer {idp.token()}"),))
    assert answer.results[0].memory.text == "x"
    assert answer.consistency_token
    named = []
    for result in answer.results[1:]:
        assert isinstance(from_status(result.error), InvalidArgumentError)
        bad = details.BadRequest()
        assert any(item.Unpack(bad) for item in result.error.details)
        named.append(bad.field_violations[0].field)
    assert named == ["parent", "memory.etag", "vector.values"]


async def test_batch_forget_reports_each_item_separately(connect: Connect) -> None:
    async with connect() as client:
        namespace, other = await notes(client), await notes(client)
        one, two, three = stored_memories(
            await client.batch_remember(namespace, [MemoryDraft("one"), MemoryDraft("two"), MemoryDraft("three")])
        )
        elsewhere = await client.remember(other, "elsewhere")
        await client.forget(two.name)
        results = await client.batch_forget(namespace, [one.name, two.name, elsewhere.name, "nothing"])
        assert results[0] is None
        assert isinstance(results[1], NotFoundError)
        assert isinstance(results[2], InvalidArgumentError)
        assert isinstance(results[3], InvalidArgumentError)
        assert await client.batch_forget(namespace, [two.name], allow_missing=True) == (None,)
        assert [memory async for memory in client.list(namespace)] == [three]
        assert await client.get(elsewhere.name) == elsewhere


async def test_batch_calls_cannot_reach_memories_of_another_tenant(connect: Connect) -> None:
    shared, mark = f"n-{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    async with connect("a") as ours, connect("b") as theirs:
        await ours.create_namespace(shared)
        memories = stored_memories(
            await ours.batch_remember(shared, [MemoryDraft("ours", request_id=mark), MemoryDraft("more")])
        )
        with pytest.raises(NotFoundError):
            await theirs.batch_remember(shared, [MemoryDraft("theirs")])
        with pytest.raises(NotFoundError):
            await theirs.batch_forget(shared, [memory.name for memory in memories])
        await theirs.create_namespace(shared)
        (own,) = stored_memories(await theirs.batch_remember(shared, [MemoryDraft("ours", request_id=mark)]))
        assert own.name != memories[0].name
        results = await theirs.batch_forget(shared, [memory.name for memory in memories])
        assert [type(result) for result in results] == [NotFoundError, NotFoundError]
        assert [memory async for memory in ours.list(shared)] == memories
