"""UpdateMemory and ListRevisions over gRPC, as the contract defines them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import grpc
import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from somabrain.memory.v1 import memory_pb2, memory_service_pb2, memory_service_pb2_grpc
from somabrain_client import Memory, MemoryClient, MemoryKind
from somabrain_client.errors import (
    AbortedError,
    AlreadyExistsError,
    CallError,
    InvalidArgumentError,
    NotFoundError,
    from_rpc,
)
from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer
from tests.integration.service.namespaces import notes
from tests.integration.service.service_process import ServiceProcess

BEES, HARBOUR = "Ann keeps bees behind the old mill.", "The harbour of Ghent was dug in 1828."


async def update(
    brain: ServiceProcess,
    idp: Issuer,
    memory: memory_pb2.Memory,
    mask: list[str] | None = None,
    vector: list[float] | None = None,
) -> memory_pb2.Memory:
    """Send an UpdateMemory that the client library would not send."""
    async with grpc.aio.insecure_channel(brain.address) as channel:
        request = memory_service_pb2.UpdateMemoryRequest(
            memory=memory,
            update_mask=None if mask is None else FieldMask(paths=mask),
            vector=None if vector is None else memory_pb2.Vector(values=vector),
        )
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        try:
            metadata = (("authorization", f"Bearer {idp.token()}"),)
            return (await stub.UpdateMemory(request, metadata=metadata)).memory
        except grpc.aio.AioRpcError as exc:
            raise from_rpc(exc) from exc


async def test_updated_text_is_found_only_by_its_new_words(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        original = await client.remember(namespace, BEES)
        changed = await client.update(original.name, text=HARBOUR)
        assert (changed.text, changed.revision, changed.create_time) == (HARBOUR, 2, original.create_time)
        assert changed.update_time > original.update_time
        assert changed.etag != original.etag
        assert await client.get(original.name) == changed
        assert (await client.recall(namespace, "bees")).hits == ()
        assert [hit.memory for hit in (await client.recall(namespace, "harbour")).hits] == [changed]


async def test_update_changes_only_masked_fields_and_resets_unset_ones(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        original = await client.remember(
            namespace, BEES, kind=MemoryKind.SEMANTIC, subject="ann", labels={"a": "b"}, salience=0.9, session="s"
        )
        changed = await client.update(original.name, labels={"c": "d"}, clear=("kind", "salience", "subject"))
        assert changed.labels == {"c": "d"}
        assert (changed.kind, changed.salience, changed.subject) == (MemoryKind.EPISODIC, 0.5, "")
        assert (changed.text, changed.session, changed.session_position) == (BEES, "s", 0)
        (listed,) = [memory async for memory in client.list(namespace)]
        assert listed == changed


async def test_update_without_mask_changes_all_set_fields(connect: Connect, brain: ServiceProcess, idp: Issuer) -> None:
    async with connect() as client:
        original = await client.remember(await notes(client), BEES, subject="ann", salience=0.9)
        changed = await update(brain, idp, memory_pb2.Memory(name=original.name, etag=original.etag, subject="bob"))
        assert (changed.subject, changed.text, changed.salience, changed.revision) == ("bob", BEES, 0.9, 2)


async def test_wildcard_mask_replaces_the_whole_memory(connect: Connect, brain: ServiceProcess, idp: Issuer) -> None:
    async with connect() as client:
        original = await client.remember(await notes(client), BEES, subject="ann", session="s", labels={"a": "b"})
        changed = await update(brain, idp, memory_pb2.Memory(name=original.name, text=HARBOUR), ["*"])
        assert (changed.text, changed.subject, changed.session, dict(changed.labels)) == (HARBOUR, "", "", {})
        assert not changed.HasField("session_position")


@pytest.mark.parametrize(
    ("fields", "mask", "vector", "field"),
    [
        ({}, None, None, "update_mask"),
        ({}, [], None, "update_mask"),
        ({"text": "x"}, ["text", "etag"], None, "update_mask"),
        ({"text": "x"}, ["labels.key"], None, "update_mask"),
        ({"text": "x"}, ["*", "text"], None, "update_mask"),
        ({}, ["text"], None, "memory.text"),
        ({"revision": 7}, None, None, "memory.revision"),
        ({"session_position": 3}, None, None, "memory.session_position"),
        ({"salience": 2.0}, None, None, "memory.salience"),
        ({"kind": 9}, None, None, "memory.kind"),
        ({"subject": "x"}, None, [1.0], "vector"),
        ({"text": "x"}, None, [1.0], "vector"),
    ],
)
async def test_invalid_update_is_refused_by_field_without_effect(
    connect: Connect,
    brain: ServiceProcess,
    idp: Issuer,
    fields: dict[str, object],
    mask: list[str] | None,
    vector: list[float] | None,
    field: str,
) -> None:
    async with connect() as client:
        original = await client.remember(await notes(client), BEES)
        with pytest.raises(InvalidArgumentError) as caught:
            await update(brain, idp, memory_pb2.Memory(name=original.name, **fields), mask, vector)  # type: ignore[arg-type]
        assert list(caught.value.details.fields) == [field]
        assert await client.get(original.name) == original


async def test_stale_etag_is_aborted(connect: Connect) -> None:
    async with connect() as client:
        original = await client.remember(await notes(client), BEES)
        changed = await client.update(original.name, subject="ann", etag=original.etag)
        with pytest.raises(AbortedError, match="etag"):
            await client.update(original.name, subject="bob", etag=original.etag)
        assert await client.get(original.name) == changed


async def test_repeated_update_is_applied_once_despite_its_used_etag(connect: Connect) -> None:
    async with connect() as client:
        original = await client.remember(await notes(client), BEES)
        first = await client.update(original.name, subject="ann", etag=original.etag, request_id="u1" + original.etag)
        again = await client.update(original.name, subject="ann", etag=original.etag, request_id="u1" + original.etag)
        assert again == first
        assert first.revision == 2
        with pytest.raises(AlreadyExistsError):
            await client.update(original.name, subject="bob", etag=original.etag, request_id="u1" + original.etag)


async def test_update_moves_memory_between_sessions_and_positions(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        a = [await client.remember(namespace, f"a {i}", session="a") for i in range(2)]
        b = [await client.remember(namespace, f"b {i}", session="b") for i in range(2)]
        assert (await client.update(a[0].name, session="b")).session_position == 2
        with pytest.raises(AlreadyExistsError, match="session_position: 1 is taken"):
            await client.update(b[0].name, session_position=1)
        assert (await client.update(b[0].name, session_position=9)).session_position == 9
        assert (await client.update(b[1].name, clear=["session_position"])).session_position == 10
        assert (await client.update(a[1].name, session="a", subject="x")).session_position == 1
        assert (await client.update(a[1].name, clear=["session"])).session_position is None


async def test_clearing_expire_time_is_required_before_pinning(connect: Connect) -> None:
    async with connect() as client:
        namespace = await notes(client)
        original = await client.remember(namespace, BEES, session="s", ttl=timedelta(hours=1))
        with pytest.raises(InvalidArgumentError, match=r"memory\.pinned"):
            await client.update(original.name, pinned=True)
        pinned = await client.update(original.name, pinned=True, clear=["ttl"])
        assert (pinned.expire_time, pinned.pinned) == (None, True)
        with pytest.raises(InvalidArgumentError, match=r"memory\.pinned"):
            await client.update(original.name, ttl=timedelta(hours=1))
        again = await client.update(original.name, ttl=timedelta(hours=1), clear=["pinned"])
        assert again.expire_time == again.update_time + timedelta(hours=1)
        with pytest.raises(InvalidArgumentError, match=r"memory\.expire_time"):
            await client.update(original.name, expire_time=datetime(2020, 1, 1, tzinfo=UTC))


async def test_revisions_are_listed_newest_first_in_pages(connect: Connect) -> None:
    async with connect() as client:
        states = [await client.remember(await notes(client), BEES, labels={"n": "0"})]
        for number in range(1, 5):
            states.append(await client.update(states[0].name, text=f"{BEES} {number}", labels={"n": str(number)}))
        former = [memory async for memory in client.revisions(states[0].name, page_size=3)]
        assert former == states[-2::-1]


async def test_revision_page_ends_at_three_megabytes(connect: Connect, brain: ServiceProcess, idp: Issuer) -> None:
    async with connect() as client:
        original = await client.remember(await notes(client), "x" * 65536)
        for number in range(60):
            await client.update(original.name, subject=str(number))
    async with grpc.aio.insecure_channel(brain.address) as channel:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        metadata = (("authorization", f"Bearer {idp.token()}"),)
        request = memory_service_pb2.ListRevisionsRequest(parent=original.name)
        first = await stub.ListRevisions(request, metadata=metadata)
        assert 3 * 1024 * 1024 - 2 * 65536 < first.ByteSize() <= 3 * 1024 * 1024
        request.page_token = first.next_page_token
        second = await stub.ListRevisions(request, metadata=metadata)
        assert len(first.revisions) + len(second.revisions) == 60
        assert second.next_page_token == ""
        request.page_size = 5
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListRevisions(request, metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "page_token" in (caught.value.details() or "")


async def test_forgotten_memory_has_no_revisions_and_cannot_be_updated(connect: Connect) -> None:
    async with connect() as client:
        original = await client.remember(await notes(client), BEES)
        await client.update(original.name, text=HARBOUR)
        await client.forget(original.name)
        with pytest.raises(NotFoundError):
            await client.update(original.name, text=BEES)
        with pytest.raises(NotFoundError):
            await revisions(client, original.name)


async def revisions(client: MemoryClient, name: str) -> list[Memory]:
    return [memory async for memory in client.revisions(name)]


async def test_tenant_cannot_update_or_list_revisions_of_another_tenant(connect: Connect) -> None:
    """Another tenant gets NOT_FOUND for all calls on a memory, although it has a namespace of the same name."""
    shared = f"n-{uuid.uuid4().hex[:12]}"
    async with connect("a") as ours, connect("b") as theirs:
        await ours.create_namespace(shared)
        await theirs.create_namespace(shared)
        original = await ours.remember(shared, BEES)
        changed = await ours.update(original.name, text=HARBOUR)
        for call in (theirs.update(original.name, text="stolen"), revisions(theirs, original.name)):
            with pytest.raises(NotFoundError):
                await call
        (result,) = await theirs.batch_forget(shared, [original.name])
        assert isinstance(result, CallError)
        assert result.reason == "NOT_FOUND"
        assert await ours.get(original.name) == changed
        assert await revisions(ours, original.name) == [original]
