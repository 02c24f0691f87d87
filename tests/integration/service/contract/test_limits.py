"""Every bound of the contract: a value at it is accepted; one past it is refused with field and bound in the error."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from google.protobuf.message import Message

from somabrain.memory.v1 import memory_pb2
from somabrain.memory.v1 import memory_service_pb2 as ms
from somabrain.memory.v1 import namespace_service_pb2 as ns
from tests.integration.service.contract.conftest import Caller

MessageFactory = Callable[[str, int], Message]


def memory(parent: str, **fields: object) -> ms.RememberRequest:
    return ms.RememberRequest(parent=parent, memory=memory_pb2.Memory(**{"text": "x", **fields}))  # type: ignore[arg-type]


def listed(parent: str, **fields: object) -> ms.ListMemoriesRequest:
    return ms.ListMemoriesRequest(parent=parent, filter=memory_pb2.MemoryFilter(**fields))  # type: ignore[arg-type]


def names(parent: str, count: int) -> list[ms.ForgetMemoryRequest]:
    return [ms.ForgetMemoryRequest(name=f"{parent}/memories/{i:016x}", allow_missing=True) for i in range(1, count + 1)]


def exists(label: str) -> memory_pb2.LabelCondition:
    return memory_pb2.LabelCondition(label=label, operator=memory_pb2.LABEL_OPERATOR_EXISTS)


def among(values: list[str]) -> memory_pb2.LabelCondition:
    return memory_pb2.LabelCondition(label="a", operator=memory_pb2.LABEL_OPERATOR_IN, values=values)


def nested(depth: int) -> memory_pb2.MemoryFilter:
    message = memory_pb2.MemoryFilter(sessions=["s"])
    for _ in range(depth - 1):
        message = memory_pb2.MemoryFilter(any_of=[message])
    return message


BOUNDS: list[tuple[str, str, int, MessageFactory]] = [
    ("Remember", "memory.text", 102_400, lambda p, n: memory(p, text="x" * n)),
    ("Remember", "memory.index_text", 102_400, lambda p, n: memory(p, index_text="x" * n)),
    ("Remember", "memory.key", 2048, lambda p, n: memory(p, key="x" * n)),
    ("UpdateMemory", "memory.name", 2048, lambda p, n: ms.UpdateMemoryRequest(
        memory=memory_pb2.Memory(name=f"{p}/keys/{'x' * n}", text="x"), allow_missing=True)),
    ("ListMemories", "filter.key_prefix", 2048, lambda p, n: listed(p, key_prefix="x" * n)),
    ("ListMemories", "filter", 128, lambda p, n: listed(p, conditions=[exists("a")] * n)),
    ("ListMemories", "filter", 8, lambda p, n: ms.ListMemoriesRequest(parent=p, filter=nested(n))),
    ("ListMemories", "filter.conditions.label", 63, lambda p, n: listed(p, conditions=[exists("a" * n)])),
    ("ListMemories", "filter.conditions.values", 256, lambda p, n: listed(p, conditions=[among(["x"] * n)])),
    ("ListMemories", "filter.conditions.values", 256, lambda p, n: listed(p, conditions=[among(["x" * n])])),
    ("ForgetMemories", "max_count", 10_000, lambda p, n: ms.ForgetMemoriesRequest(
        parent=p, max_count=n, filter=memory_pb2.MemoryFilter(sessions=["none"]))),
    ("ListSessions", "page_size", 1000, lambda p, n: ms.ListSessionsRequest(parent=p, page_size=n)),
    ("ListSubjects", "page_size", 1000, lambda p, n: ms.ListSubjectsRequest(parent=p, page_size=n)),
    ("Remember", "memory.session", 256, lambda p, n: memory(p, session="x" * n)),
    ("Remember", "memory.subject", 256, lambda p, n: memory(p, subject="x" * n)),
    ("Remember", "memory.labels", 64, lambda p, n: memory(p, labels={f"k{i}": "v" for i in range(n)})),
    ("Remember", "memory.labels", 63, lambda p, n: memory(p, labels={"k" * n: "v"})),
    ("Remember", "memory.labels", 256, lambda p, n: memory(p, labels={"k": "v" * n})),
    ("Remember", "request_id", 128, lambda p, n: ms.RememberRequest(
        parent=p, memory=memory_pb2.Memory(text="x"), request_id="r" * n)),
    ("BatchRemember", "requests", 500, lambda p, n: ms.BatchRememberRequest(parent=p, requests=[memory(p)] * n)),
    ("BatchForget", "requests", 500, lambda p, n: ms.BatchForgetRequest(parent=p, requests=names(p, n))),
    ("Recall", "query", 65_536, lambda p, n: ms.RecallRequest(parent=p, query="x" * n)),
    ("Recall", "top_k", 200, lambda p, n: ms.RecallRequest(parent=p, query="x", top_k=n)),
    ("ListMemories", "page_size", 1000, lambda p, n: ms.ListMemoriesRequest(parent=p, page_size=n)),
    ("ListMemories", "filter.sessions", 256, lambda p, n: listed(p, sessions=[str(i) for i in range(n)])),
    ("ListMemories", "filter.subjects", 256, lambda p, n: listed(p, subjects=[str(i) for i in range(n)])),
    ("ListMemories", "filter.kinds", 256, lambda p, n: listed(p, kinds=[1] * n)),
    ("ListNamespaces", "page_size", 1000, lambda _, n: ns.ListNamespacesRequest(page_size=n)),
    ("CreateNamespace", "namespace.display_name", 256, lambda _, n: ns.CreateNamespaceRequest(
        namespace_id=f"d{n}", namespace=ns.Namespace(display_name="x" * n))),
    ("CreateNamespace", "namespace_id", 63, lambda _, n: ns.CreateNamespaceRequest(namespace_id="x" * n)),
    ("EraseSubject", "subject", 256, lambda p, n: ns.EraseSubjectRequest(parent=p, subject="x" * n)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "field", "bound", "make"), BOUNDS, ids=[f"{method}-{field}-{n}" for method, field, n, _ in BOUNDS]
)
async def test_field_at_its_limit_is_accepted_and_beyond_it_refused(
    caller: Caller, method: str, field: str, bound: int, make: MessageFactory
) -> None:
    await caller.call(method, make(caller.parent, bound))
    refused = await caller.refused(method, make(caller.parent, bound + 1))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [name for name in refused.fields if name.startswith(field)] == list(refused.fields) != []
    assert str(bound) in refused.message.replace(",", "") or "64 KiB" in refused.message


async def test_batch_limit_is_three_mebibytes(caller: Caller) -> None:
    """A batch of exactly three mebibytes is accepted, and one that is a byte larger is refused."""
    whole = 3 * 1024 * 1024
    full = ms.BatchRememberRequest(parent=caller.parent, requests=[memory(caller.parent, text="x" * 65_536)] * 47)
    full.requests.append(memory(caller.parent, text="x" * 20_000))
    full.requests[-1].memory.text += "x" * (whole - full.ByteSize())
    assert full.ByteSize() == whole
    await caller.call("BatchRemember", full)
    full.requests[-1].memory.text += "x"
    refused = await caller.refused("BatchRemember", full)
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("requests",))


async def test_memory_pages_and_recall_hits_end_at_three_mebibytes(caller: Caller) -> None:
    """Answers stay below the 4 MiB at which gRPC refuses a message before any handler sees it."""
    text = "bee " * 16_384
    batch = ms.BatchRememberRequest(parent=caller.parent, requests=[memory(caller.parent, text=text)] * 40)
    for _ in range(2):
        await caller.call("BatchRemember", batch)
    page = await caller.call("ListMemories", ms.ListMemoriesRequest(parent=caller.parent, page_size=1000))
    assert isinstance(page, ms.ListMemoriesResponse)
    assert page.next_page_token
    assert 0 < page.ByteSize() <= 3 * 1024 * 1024
    answer = await caller.call("Recall", ms.RecallRequest(parent=caller.parent, query="bee", top_k=200))
    assert isinstance(answer, ms.RecallResponse)
    assert answer.truncated
    assert 0 < answer.ByteSize() <= 3 * 1024 * 1024 + 65_536
