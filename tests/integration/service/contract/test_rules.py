"""The rules of the contract over the wire, each by its name: pages, request ids, etags, masks, details, tokens.

Watches and exports are in `test_feed`, limits in `test_limits`, erasure in `tests/integration/store/test_erasing`.
"""

from __future__ import annotations

from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from somabrain.memory.v1 import memory_pb2
from somabrain.memory.v1 import memory_service_pb2 as ms
from somabrain.memory.v1 import namespace_service_pb2 as ns
from tests.integration.service.contract.conftest import Caller
from tests.support.clones import Clone


async def remember(caller: Caller, text: str, **fields: Any) -> memory_pb2.Memory:
    request = ms.RememberRequest(parent=caller.parent, memory=memory_pb2.Memory(text=text, **fields))
    answer = await caller.call("Remember", request)
    assert isinstance(answer, ms.RememberResponse)
    return answer.memory


async def three_pages(caller: Caller) -> list[tuple[str, Message, Message]]:
    """For each method with pages: its name, a request that has a second page, and a request that differs from it."""
    memory = await remember(caller, "one")
    for text in ("two", "three"):
        changed = memory_pb2.Memory(name=memory.name, text=text)
        await caller.call("UpdateMemory", ms.UpdateMemoryRequest(memory=changed))
    await remember(caller, "another")
    await caller.call("CreateNamespace", ns.CreateNamespaceRequest(namespace_id="second"))
    return [
        (
            "ListMemories",
            ms.ListMemoriesRequest(parent=caller.parent, page_size=1),
            ms.ListMemoriesRequest(parent=caller.parent, page_size=1, order_by="event_time"),
        ),
        (
            "ListRevisions",
            ms.ListRevisionsRequest(parent=memory.name, page_size=1),
            ms.ListRevisionsRequest(parent=memory.name, page_size=2),
        ),
        ("ListNamespaces", ns.ListNamespacesRequest(page_size=1), ns.ListNamespacesRequest(page_size=2)),
    ]


async def test_page_token_is_bound_to_its_request(caller: Caller) -> None:
    """AIP-158: a page token continues its request; if it or the request is altered, it is refused by name."""
    for method, request, other in await three_pages(caller):
        first: Any = await caller.call(method, request)
        token = first.next_page_token
        assert token, method
        request.page_token = token  # type: ignore[attr-defined]
        second: Any = await caller.call(method, request)
        assert second != first
        other.page_token = token  # type: ignore[attr-defined]
        refusals = [await caller.refused(method, other)]
        for wrong in (token[:-2], "x", "ä" * 9):
            request.page_token = wrong  # type: ignore[attr-defined]
            refusals.append(await caller.refused(method, request))
        for refused in refusals:
            assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("page_token",)), method


async def test_repeated_request_id_is_replayed_and_with_other_body_refused(caller: Caller) -> None:
    """AIP-155, for every write that has a request_id: a repeated request gets the first answer and is written once."""
    one, two = [await remember(caller, text, subject="ann") for text in ("one", "two")]
    for extra in ("a", "b"):
        await caller.call("CreateNamespace", ns.CreateNamespaceRequest(namespace_id=extra))
    masked = FieldMask(paths=["display_name"])
    requests: list[tuple[str, Message, dict[str, Any]]] = [
        ("Remember", ms.RememberRequest(parent=caller.parent, memory=memory_pb2.Memory(text="x")), {"text": "y"}),
        ("UpdateMemory", ms.UpdateMemoryRequest(memory=memory_pb2.Memory(name=one.name, text="x")), {"text": "y"}),
        ("ForgetMemory", ms.ForgetMemoryRequest(name=one.name), {"name": two.name}),
        ("CreateNamespace", ns.CreateNamespaceRequest(namespace_id="made"), {"namespace_id": "other"}),
        (
            "UpdateNamespace",
            ns.UpdateNamespaceRequest(namespace=ns.Namespace(name=caller.parent, display_name="x"), update_mask=masked),
            {"display_name": "y"},
        ),
        ("EraseSubject", ns.EraseSubjectRequest(parent=caller.parent, subject="ann"), {"subject": "bob"}),
        ("DeleteNamespace", ns.DeleteNamespaceRequest(name="namespaces/a"), {"name": "namespaces/b"}),
    ]
    for number, (method, request, change) in enumerate(requests):
        request.request_id = f"r-{number}"  # type: ignore[attr-defined]
        first = await caller.call(method, request)
        assert await caller.call(method, request) == first, method
        other: Any = type(request)()
        other.CopyFrom(request)
        for name, value in change.items():
            inner = next((part for part in ("memory", "namespace") if hasattr(getattr(other, part, ""), name)), "")
            setattr(getattr(other, inner) if inner else other, name, value)
        refused = await caller.refused(method, other)
        assert refused.code is grpc.StatusCode.ALREADY_EXISTS, method
        assert "request_id" in refused.message, method


async def test_request_id_is_remembered_for_24_hours(caller: Caller, postgres: Clone) -> None:
    """A repeated request is recognised for 24 hours; the test moves the stored expiry instead of waiting."""
    request = ms.RememberRequest(parent=caller.parent, memory=memory_pb2.Memory(text="once"), request_id="r")
    later = "UPDATE idempotency_keys SET expire_time = expire_time - %s::interval WHERE namespace_id = %s"
    first: Any = await caller.call("Remember", request)
    with psycopg.connect(postgres.owner_dsn, autocommit=True) as owner:
        ours = "SELECT namespace_id FROM memories WHERE text = 'once' AND id = %s"
        [namespace] = owner.execute(ours, (int(first.memory.name.rpartition("/")[2], 16),)).fetchone() or [None]
        owner.execute(later, ("23 hours 59 minutes", namespace))
        assert await caller.call("Remember", request) == first
        owner.execute(later, ("1 minute", namespace))
    second: Any = await caller.call("Remember", request)
    assert second.memory.name != first.memory.name


async def test_stale_etag_is_aborted(caller: Caller) -> None:
    """AIP-154: a call with an old etag writes nothing, and one with the current etag succeeds."""
    memory = await remember(caller, "one")
    name = caller.parent
    calls: list[tuple[str, Message, Message]] = [
        (
            "UpdateMemory",
            ms.UpdateMemoryRequest(memory=memory_pb2.Memory(name=memory.name, text="two", etag="old")),
            ms.UpdateMemoryRequest(memory=memory_pb2.Memory(name=memory.name, text="two", etag=memory.etag)),
        ),
        (
            "UpdateNamespace",
            ns.UpdateNamespaceRequest(
                namespace=ns.Namespace(name=name, etag="old"), update_mask=FieldMask(paths=["display_name"])
            ),
            ns.UpdateNamespaceRequest(namespace=ns.Namespace(name=name), update_mask=FieldMask(paths=["display_name"])),
        ),
        (
            "ForgetMemory",
            ms.ForgetMemoryRequest(name=memory.name, etag=memory.etag),  # used up by the update
            ms.ForgetMemoryRequest(name=memory.name),
        ),
        ("DeleteNamespace", ns.DeleteNamespaceRequest(name=name, etag="old"), ns.DeleteNamespaceRequest(name=name)),
    ]
    for method, old, current in calls:
        refused = await caller.refused(method, old)
        assert (refused.code, refused.info.reason) == (grpc.StatusCode.ABORTED, "ABORTED"), method
        assert "etag" in refused.message
        await caller.call(method, current)


async def test_field_mask_selects_changes_and_refuses_immutable_fields(caller: Caller) -> None:
    """AIP-134: a field that is named but unset is cleared; a field that is set but not named is ignored."""
    memory = await remember(caller, "one", subject="ann", salience=0.9)
    changed = memory_pb2.Memory(name=memory.name, text="not read", subject="bob")
    answer = await caller.call(
        "UpdateMemory",
        ms.UpdateMemoryRequest(memory=changed, update_mask=FieldMask(paths=["subject", "salience"])),
    )
    assert isinstance(answer, ms.UpdateMemoryResponse)
    assert (answer.memory.text, answer.memory.subject, answer.memory.salience) == ("one", "bob", 0.5)
    for paths in (["create_time"], ["nothing"], ["text", "revision"]):
        request = ms.UpdateMemoryRequest(memory=changed, update_mask=FieldMask(paths=paths))
        refused = await caller.refused("UpdateMemory", request)
        assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("update_mask",)), paths


async def test_errors_carry_reason_domain_field_and_resource(caller: Caller) -> None:
    """AIP-193: each error carries its reason and domain, and the field or resource that it is about."""
    bad = await caller.refused("Recall", ms.RecallRequest(parent=caller.parent, query="x", top_k=201))
    assert (bad.code, bad.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("top_k",))
    missing = await caller.refused("GetMemory", ms.GetMemoryRequest(name=f"{caller.parent}/memories/{1:016x}"))
    assert (missing.code, missing.resource) == (grpc.StatusCode.NOT_FOUND, f"{caller.parent}/memories/{1:016x}")
    nowhere = await caller.refused("Recall", ms.RecallRequest(parent="namespaces/nowhere", query="x"))
    assert (nowhere.code, nowhere.resource) == (grpc.StatusCode.NOT_FOUND, "namespaces/nowhere")
    taken = await caller.refused("CreateNamespace", ns.CreateNamespaceRequest(namespace_id="n"))
    assert taken.code is grpc.StatusCode.ALREADY_EXISTS
    for refused in (bad, missing, nowhere, taken):
        assert refused.info.domain == "somabrain.io"
        assert refused.info.reason == refused.code.name
        assert refused.message


async def test_consistency_token_gives_read_your_writes(caller: Caller) -> None:
    """A read with a token sees the write, or is refused for another history, as in Zanzibar (Pang et al. 2019)."""
    request = ms.RememberRequest(parent=caller.parent, memory=memory_pb2.Memory(text="a bee"))
    written = await caller.call("Remember", request)
    assert isinstance(written, ms.RememberResponse)
    token, name = written.consistency_token, written.memory.name
    recalled = await caller.call("Recall", ms.RecallRequest(parent=caller.parent, query="bee", consistency_token=token))
    assert isinstance(recalled, ms.RecallResponse)
    assert [hit.memory.name for hit in recalled.hits] == [name]
    await caller.call("GetMemory", ms.GetMemoryRequest(name=name, consistency_token=token))
    listed = await caller.call("ListMemories", ms.ListMemoriesRequest(parent=caller.parent, consistency_token=token))
    assert isinstance(listed, ms.ListMemoriesResponse)
    assert [memory.name for memory in listed.memories] == [name]
    await caller.call("CreateNamespace", ns.CreateNamespaceRequest(namespace_id="other"))
    elsewhere = ms.RecallRequest(parent="namespaces/other", query="bee", consistency_token=token)
    refused = await caller.refused("Recall", elsewhere)
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("consistency_token",))
    await caller.call("DeleteNamespace", ns.DeleteNamespaceRequest(name=caller.parent))
    await caller.call("CreateNamespace", ns.CreateNamespaceRequest(namespace_id="n"))
    for method, read in (
        ("Recall", ms.RecallRequest(parent=caller.parent, query="bee", consistency_token=token)),
        ("ListMemories", ms.ListMemoriesRequest(parent=caller.parent, consistency_token=token)),
    ):
        assert (await caller.refused(method, read)).code is grpc.StatusCode.FAILED_PRECONDITION


async def test_salience_pinning_and_ttl_follow_the_contract(caller: Caller) -> None:
    """Salience moves near ties by at most 0.7 to 1.3; a pinned memory takes no expiry; a ttl becomes an expire_time."""
    for salience in (0.0, 0.5, 1.0):
        await remember(caller, "the same words", salience=salience)
    request = ms.RecallRequest(parent=caller.parent, query="same words", explain=True)
    answer = await caller.call("Recall", request)
    assert isinstance(answer, ms.RecallResponse)
    assert [(hit.memory.salience, hit.breakdown.salience) for hit in answer.hits] == [(1, 1.3), (0.5, 1), (0, 0.7)]
    assert [hit.score for hit in answer.hits] == pytest.approx([1.3, 1.0, 0.7])
    pinned = memory_pb2.Memory(text="x", pinned=True)
    pinned.ttl.FromSeconds(60)
    refused = await caller.refused("Remember", ms.RememberRequest(parent=caller.parent, memory=pinned))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("memory.pinned",))
    short = memory_pb2.Memory(text="x")
    short.ttl.FromSeconds(60)
    written = await caller.call("Remember", ms.RememberRequest(parent=caller.parent, memory=short))
    assert isinstance(written, ms.RememberResponse)
    assert written.memory.expire_time.seconds == written.memory.create_time.seconds + 60
