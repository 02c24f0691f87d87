"""Namespaces over gRPC: read, listed, updated and deleted; and no method reaches another tenant's."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from somabrain.memory.v1 import namespace_service_pb2 as pb
from somabrain.memory.v1 import namespace_service_pb2_grpc
from somabrain_client import MemoryClient
from somabrain_client.errors import AbortedError, InvalidArgumentError, NotFoundError
from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess


def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


async def test_get_namespace_returns_its_statistics(connect: Connect) -> None:
    async with connect(tenant()) as client:
        created = await client.create_namespace("notes", display_name="Notes", default_ttl=timedelta(days=2))
        await client.create_namespace("other")
        await client.remember("notes", "Bees dance.", session="s")
        await client.remember("other", "Wörter.")
        namespace = await client.get_namespace("notes")
        assert namespace.statistics is not None
        statistics = namespace.statistics
        assert (statistics.memory_count, statistics.text_bytes, statistics.session_count, statistics.term_count) == (
            1,
            11,
            1,
            2,
        )
        assert (statistics.vector_count, statistics.unencoded_count, statistics.oldest_cursor) == (0, 0, "")
        assert (statistics.tenant_memory_count, statistics.tenant_byte_count) == (2, 19)
        assert (statistics.tenant_memory_limit, statistics.tenant_byte_limit) == (0, 0)
        assert (namespace.version, namespace.epoch, namespace.etag) == (1, created.epoch, created.etag)
        assert (namespace.display_name, namespace.default_ttl) == ("Notes", timedelta(days=2))


async def test_namespace_pages_are_ordered_and_bound_to_tenant_and_request(
    connect: Connect, brain: ServiceProcess, idp: Issuer
) -> None:
    mine, another = tenant(), tenant()
    names = ["a", "a-b", "a0", "ab", "b"]
    async with connect(mine) as client, connect(another) as stranger:
        for name in reversed(names):
            await client.create_namespace(name)
        for size in (0, 1, 2, 5):
            listed = [namespace.name async for namespace in client.list_namespaces(page_size=size)]
            assert listed == [f"namespaces/{name}" for name in names]
        assert [namespace async for namespace in stranger.list_namespaces()] == []
    async with grpc.aio.insecure_channel(brain.address) as channel:
        stub = namespace_service_pb2_grpc.NamespaceServiceStub(channel)
        metadata = (("authorization", f"Bearer {idp.token(mine)}"),)
        token = (await stub.ListNamespaces(pb.ListNamespacesRequest(page_size=2), metadata=metadata)).next_page_token
        for who, size, sent in ((another, 2, token), (mine, 3, token), (mine, 2, token[:-2]), (mine, 2, "é")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ListNamespaces(
                    pb.ListNamespacesRequest(page_size=size, page_token=sent),
                    metadata=(("authorization", f"Bearer {idp.token(who)}"),),
                )
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "page_token" in (caught.value.details() or "")


async def test_update_namespace_changes_only_masked_fields(connect: Connect) -> None:
    async with connect(tenant()) as client:
        created = await client.create_namespace("notes", display_name="Old", recency_half_life=timedelta(days=1))
        await client.remember("notes", "Bees dance.")
        changed = await client.update_namespace("notes", default_ttl=timedelta(hours=1), etag=created.etag)
        assert (changed.display_name, changed.recency_half_life) == ("Old", timedelta(days=1))
        assert changed.default_ttl == timedelta(hours=1)
        assert (changed.version, changed.epoch, changed.etag == created.etag) == (1, created.epoch, False)
        later = await client.remember("notes", "Bees sing.")
        assert later.expire_time == later.create_time + timedelta(hours=1)
        assert [memory.expire_time async for memory in client.list("notes")] == [None, later.expire_time]
        with pytest.raises(AbortedError, match="etag"):
            await client.update_namespace("notes", display_name="New", etag=created.etag)
        cleared = await client.update_namespace("notes", display_name="", default_ttl=None, recency_half_life=None)
        assert (cleared.display_name, cleared.default_ttl, cleared.recency_half_life) == ("", None, None)
        assert (await client.remember("notes", "Bees rest.")).expire_time is None
        for wrong in ({"display_name": "x" * 257}, {"default_ttl": timedelta(0)}, {}):
            with pytest.raises(InvalidArgumentError):
                await client.update_namespace("notes", **wrong)
        with pytest.raises(NotFoundError):
            await client.update_namespace("nowhere", display_name="x")


async def test_language_setting_enables_stemming(connect: Connect) -> None:
    """A query with another form of a German word finds it in a namespace for German, and not in one for English."""
    async with connect(tenant()) as client:
        for language in ("de", "en"):
            namespace = await client.create_namespace(f"n-{language}", language=language)
            assert namespace.language == language
            await client.remember(namespace.name, "In den Häusern spielten Kinder.")
        results = [(await client.recall(f"n-{language}", "ein Haus")).hits for language in ("de", "en")]
        assert [len(hits) for hits in results] == [1, 0]
        with pytest.raises(InvalidArgumentError, match=r"settings\.language: must be one of ar, .*, zh, or empty"):
            await client.create_namespace("n", language="tlh")


async def test_change_feed_retention_is_configurable(brain: ServiceProcess, idp: Issuer) -> None:
    metadata = (("authorization", f"Bearer {idp.token(tenant())}"),)
    async with grpc.aio.insecure_channel(brain.address) as channel:
        stub = namespace_service_pb2_grpc.NamespaceServiceStub(channel)
        namespace = pb.Namespace(settings=pb.NamespaceSettings(feed_retention=Duration(seconds=86_400)))
        create = pb.CreateNamespaceRequest(namespace_id="notes", namespace=namespace)
        created = await stub.CreateNamespace(create, metadata=metadata)
        assert created.namespace.settings.feed_retention.seconds == 86_400
        for path, settings, retention_s in (
            ("settings.feed_retention", pb.NamespaceSettings(feed_retention=Duration(seconds=7200)), 7200),
            ("display_name", pb.NamespaceSettings(), 7200),
            ("settings.feed_retention", pb.NamespaceSettings(), 7 * 86_400),
        ):
            requested = pb.Namespace(name=created.namespace.name, settings=settings)
            update = pb.UpdateNamespaceRequest(namespace=requested, update_mask=FieldMask(paths=[path]))
            changed = await stub.UpdateNamespace(update, metadata=metadata)
            assert changed.namespace.settings.feed_retention.seconds == retention_s


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("create_time", grpc.StatusCode.INVALID_ARGUMENT),
        ("settings", grpc.StatusCode.INVALID_ARGUMENT),
        ("version", grpc.StatusCode.INVALID_ARGUMENT),
        ("*", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_immutable_namespace_field_is_refused_by_name(
    brain: ServiceProcess, idp: Issuer, path: str, code: grpc.StatusCode
) -> None:
    async with grpc.aio.insecure_channel(brain.address) as channel:
        stub = namespace_service_pb2_grpc.NamespaceServiceStub(channel)
        request = pb.UpdateNamespaceRequest(
            namespace=pb.Namespace(name="namespaces/n"), update_mask=FieldMask(paths=["display_name", path])
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.UpdateNamespace(request, metadata=(("authorization", f"Bearer {idp.token()}"),))
    assert caught.value.code() is code
    assert "update_mask" in (caught.value.details() or "")


async def test_repeated_namespace_writes_return_the_first_response(
    brain: ServiceProcess, idp: Issuer, connect: Connect
) -> None:
    mine = tenant()
    async with connect(mine) as client, grpc.aio.insecure_channel(brain.address) as channel:
        created = await client.create_namespace("notes")
        await client.remember("notes", "Ann dances.", subject="ann")
        stub = namespace_service_pb2_grpc.NamespaceServiceStub(channel)
        metadata = (("authorization", f"Bearer {idp.token(mine)}"),)
        update = pb.UpdateNamespaceRequest(
            namespace=pb.Namespace(name=created.name, display_name="New", etag=created.etag),
            update_mask=FieldMask(paths=["display_name"]),
            request_id="u",
        )
        first = await stub.UpdateNamespace(update, metadata=metadata)
        assert await stub.UpdateNamespace(update, metadata=metadata) == first
        erase = pb.EraseSubjectRequest(parent=created.name, subject="ann", request_id="e")
        erased = await stub.EraseSubject(erase, metadata=metadata)
        assert erased.erased_count == 1
        assert await stub.EraseSubject(erase, metadata=metadata) == erased
        delete = pb.DeleteNamespaceRequest(name=created.name, request_id="d")
        await stub.DeleteNamespace(delete, metadata=metadata)
        await stub.DeleteNamespace(delete, metadata=metadata)
        for call in (stub.UpdateNamespace(update, metadata=metadata), stub.EraseSubject(erase, metadata=metadata)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(NotFoundError):
            await client.delete_namespace("notes")
        await client.delete_namespace("notes", allow_missing=True)
        assert [namespace async for namespace in client.list_namespaces()] == []


async def everything(client: MemoryClient) -> Mapping[str, object]:
    return {
        "namespace": await client.get_namespace("notes"),
        "memories": [memory async for memory in client.list("notes")],
    }


async def test_no_method_reaches_namespace_of_another_tenant(connect: Connect) -> None:
    async with connect(tenant()) as owner, connect(tenant()) as stranger, connect(tenant()) as other:
        await owner.create_namespace("notes")
        await owner.remember("notes", "Ann dances.", subject="ann")
        before = await everything(owner)
        for call in (
            stranger.get_namespace("notes"),
            stranger.update_namespace("notes", display_name="Mine"),
            stranger.delete_namespace("notes"),
            stranger.erase_subject("notes", "ann"),
        ):
            with pytest.raises(NotFoundError):
                await call
        await stranger.delete_namespace("notes", allow_missing=True)
        await other.create_namespace("notes")
        assert await other.erase_subject("notes", "ann") == 0
        await other.update_namespace("notes", display_name="Mine")
        statistics = (await other.get_namespace("notes")).statistics
        assert statistics is not None
        assert (statistics.memory_count, statistics.tenant_memory_count, statistics.tenant_byte_count) == (0, 0, 0)
        await other.delete_namespace("notes")
        assert await everything(owner) == before
        assert await owner.erase_subject("notes", "ann") == 1
