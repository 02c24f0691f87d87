"""The calls on memories from end to end: over gRPC, into PostgreSQL and back."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import grpc
import grpc.aio
import pytest

from somabrain.memory.v1 import (
    memory_pb2,
    memory_service_pb2,
    memory_service_pb2_grpc,
    namespace_service_pb2,
    namespace_service_pb2_grpc,
)
from somabrain_client import Filter, MemoryKind
from somabrain_client.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    details_from_rpc,
)
from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer, bearer
from tests.integration.service.namespaces import notes, unique
from tests.integration.service.service_process import ServiceProcess

TEXTS = (
    "The harbour of Ghent was dug in 1828.",
    "Ann keeps bees behind the old mill.",
    "The bees swarmed on the second of May.",
)


async def test_recall_returns_text_byte_for_byte_with_score_breakdown(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        memories = [
            await client.remember(namespace, text, session="s", labels={"n": str(i)}) for i, text in enumerate(TEXTS)
        ]
        answer = await client.recall(namespace, "When did the bees swarm?", explain=True)
    assert answer.hits[0].memory.text == TEXTS[2]
    assert answer.hits[0].memory.name == memories[2].name
    assert answer.hits[0].breakdown is not None
    assert answer.hits[0].breakdown.lexical_relative == 1.0
    assert 0 < answer.best_lexical <= 1
    assert answer.degraded == ()
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    assert [memory.session_position for memory in memories] == [0, 1, 2]


async def test_recall_omits_breakdown_unless_requested(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        await client.remember(namespace, TEXTS[0])
        answer = await client.recall(namespace, "harbour")
    assert [hit.breakdown for hit in answer.hits] == [None]


async def test_get_list_and_forget(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        memories = [await client.remember(namespace, text, kind=MemoryKind.SEMANTIC) for text in TEXTS]
        assert await client.get(memories[1].name) == memories[1]
        assert [memory async for memory in client.list(namespace, page_size=2)] == memories
        await client.forget(memories[1].name)
        with pytest.raises(NotFoundError) as caught:
            await client.get(memories[1].name)
        assert caught.value.reason == "NOT_FOUND"
        assert [memory.name async for memory in client.list(namespace)] == [memories[0].name, memories[2].name]
        assert all(hit.memory.name != memories[1].name for hit in (await client.recall(namespace, "bees")).hits)
        with pytest.raises(NotFoundError):
            await client.forget(memories[1].name)
        await client.forget(memories[1].name, allow_missing=True)


async def test_recall_and_list_apply_filter(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        for number, text in enumerate(TEXTS):
            await client.remember(namespace, text, labels={"even": str(number % 2 == 0)}, subject="ann")
        answer = await client.recall(namespace, "bees", where=Filter(labels={"even": "True"}))
        assert [hit.memory.text for hit in answer.hits] == [TEXTS[2]]
        assert [memory async for memory in client.list(namespace, where=Filter(subjects=("bob",)))] == []


async def test_repeated_request_id_creates_one_memory(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        first = await client.remember(namespace, TEXTS[0], request_id="r1")
        assert await client.remember(namespace, TEXTS[0], request_id="r1") == first
        with pytest.raises(AlreadyExistsError):
            await client.remember(namespace, TEXTS[1], request_id="r1")
        assert [memory async for memory in client.list(namespace)] == [first]


async def test_tenant_cannot_observe_resources_of_another_tenant(connect: Connect) -> None:
    """A tenant cannot tell whether another's namespace or memory exists, even if both use the same namespace name."""
    shared = unique()
    async with connect("a") as ours, connect("b") as theirs:
        await ours.create_namespace(shared)
        memory = await ours.remember(shared, TEXTS[0])
        with pytest.raises(NotFoundError):
            await theirs.recall(shared, "harbour")
        await theirs.create_namespace(shared)
        assert (await theirs.recall(shared, "harbour")).hits == ()
        assert [stored async for stored in theirs.list(shared)] == []
        with pytest.raises(NotFoundError):
            await theirs.get(memory.name)
        with pytest.raises(NotFoundError):
            await theirs.forget(memory.name)
        await theirs.forget(memory.name, allow_missing=True)
        assert await ours.get(memory.name) == memory


async def test_missing_namespace_is_not_found_and_duplicate_already_exists(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(NotFoundError, match="namespaces/nowhere does not exist"):
            await client.recall("nowhere", "anything")
        namespace = await notes(client)
        with pytest.raises(AlreadyExistsError):
            await client.create_namespace(namespace)


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("memory.text", {"text": ""}),
        ("memory.text", {"text": "x" * 102_401}),
        ("memory.text", {"text": "a\0b"}),
        ("memory.salience", {"text": "x", "salience": 2.0}),
        ("memory.session", {"text": "x", "session": "s" * 257}),
        ("memory.session_position", {"text": "x", "session": "s", "session_position": -1}),
        ("memory.labels", {"text": "x", "labels": {str(n): "" for n in range(65)}}),
        ("vector.values", {"text": "x", "vector": [float("nan")]}),
    ],
)
async def test_invalid_input_error_names_the_field(connect: Connect, field: str, arguments: dict[str, object]) -> None:
    async with connect() as client:
        namespace = await notes(client)
        with pytest.raises(InvalidArgumentError) as caught:
            await client.remember(namespace, **arguments)  # type: ignore[arg-type]
    assert list(caught.value.details.fields) == [field]
    assert caught.value.details.request_id


async def test_output_only_field_in_request_is_refused(brain: ServiceProcess, idp: Issuer) -> None:
    async with grpc.aio.insecure_channel(brain.address) as channel:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        request = memory_service_pb2.RememberRequest(
            parent="namespaces/n", memory=memory_pb2.Memory(text="x", name="namespaces/n/memories/mine")
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Remember(request, metadata=bearer(idp))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "memory.name" in details_from_rpc(caught.value).fields


async def test_pinned_memory_ignores_default_ttl(connect: Connect) -> None:
    async with connect() as client:
        namespace = (await client.create_namespace(unique(), default_ttl=timedelta(milliseconds=50))).name
        pinned = await client.remember(namespace, TEXTS[0], pinned=True)
        await client.remember(namespace, TEXTS[1])
        await asyncio.sleep(0.1)
        assert [memory async for memory in client.list(namespace)] == [pinned]
        with pytest.raises(InvalidArgumentError, match=r"memory\.pinned"):
            await client.remember(namespace, TEXTS[2], pinned=True, ttl=timedelta(days=1))


async def test_valid_request_id_header_is_echoed_and_invalid_one_replaced(brain: ServiceProcess, idp: Issuer) -> None:
    async with grpc.aio.insecure_channel(brain.address) as channel:
        stub = namespace_service_pb2_grpc.NamespaceServiceStub(channel)
        returned_ids = []
        for sent_id in ("my-id-1", "x" * 100):
            request = namespace_service_pb2.CreateNamespaceRequest(namespace_id=unique())
            call = stub.CreateNamespace(request, metadata=(*bearer(idp), ("x-request-id", sent_id)))
            await call
            trailing = await call.trailing_metadata()
            returned_ids.append(next(value for key, value in trailing if key == "x-request-id"))
    assert returned_ids[0] == "my-id-1"
    assert returned_ids[1] != "x" * 100


async def test_calls_are_counted_by_method_and_status(connect: Connect, brain: ServiceProcess) -> None:
    async with connect() as client:
        with pytest.raises(NotFoundError):
            await client.recall("nowhere", "anything")
    lines = brain.get("/metrics")[1].splitlines()
    counted = [line for line in lines if line.startswith("grpc_server_handled_total") and "NOT_FOUND" in line]
    assert any('grpc_method="Recall"' in line and float(line.split()[-1]) >= 1 for line in counted)
