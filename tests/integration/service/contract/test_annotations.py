"""The contract's annotations and the limits that execute agree: each refuses the same requests."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status
from protovalidate import Validator

from somabrain.memory.v1 import memory_pb2 as m
from somabrain.memory.v1 import memory_service_pb2 as ms
from somabrain.memory.v1 import namespace_service_pb2 as ns
from somabrain_service.interceptors.contract import METHODS
from tests.integration.service.contract.annotated import Case, Rules, cases, published
from tests.integration.service.contract.conftest import Caller

RULES = Rules(published())
ABSENT = "/memories/0000000000000001"
MUTABLE = ("language", "encoder", "recency_half_life", "default_ttl", "feed_retention", "content")
MASK = {"paths": ["display_name", *(f"settings.{name}" for name in MUTABLE)]}


def unused() -> str:
    return f"n-{uuid.uuid4().hex[:12]}"


def of(kind: Callable[..., Message], **fields: object) -> Message:
    """Return a message; nested ones are given by their fields."""
    return kind(**fields)


VALID: Mapping[str, Callable[[str], Message]] = {
    "Remember": lambda p: of(ms.RememberRequest, parent=p, memory={"text": "x", "session": "s"}),
    "BatchRemember": lambda p: of(ms.BatchRememberRequest, parent=p),
    "Recall": lambda p: of(ms.RecallRequest, parent=p, query="x"),
    "GetMemory": lambda p: of(ms.GetMemoryRequest, name=p + ABSENT),
    "ListMemories": lambda p: of(ms.ListMemoriesRequest, parent=p),
    "UpdateMemory": lambda p: of(ms.UpdateMemoryRequest, memory={"name": p + ABSENT, "text": "x", "session": "s"}),
    "TouchMemory": lambda p: of(ms.TouchMemoryRequest, name=p + ABSENT, ttl={"seconds": 9}),
    "ListSessions": lambda p: of(ms.ListSessionsRequest, parent=p),
    "ListSubjects": lambda p: of(ms.ListSubjectsRequest, parent=p),
    "ForgetMemory": lambda p: of(ms.ForgetMemoryRequest, name=p + ABSENT),
    "BatchForget": lambda p: of(ms.BatchForgetRequest, parent=p),
    "ForgetMemories": lambda p: of(ms.ForgetMemoriesRequest, parent=p, filter={"sessions": ["absent"]}),
    "ListRevisions": lambda p: of(ms.ListRevisionsRequest, parent=p + ABSENT),
    "WatchMemories": lambda p: of(ms.WatchMemoriesRequest, parent=p),
    "ExportMemories": lambda p: of(ms.ExportMemoriesRequest, parent=p),
    "CreateNamespace": lambda _: of(ns.CreateNamespaceRequest, namespace_id=unused()),
    "GetNamespace": lambda p: of(ns.GetNamespaceRequest, name=p),
    "ListNamespaces": lambda _: of(ns.ListNamespacesRequest),
    "UpdateNamespace": lambda p: of(ns.UpdateNamespaceRequest, namespace={"name": p}, update_mask=MASK),
    "DeleteNamespace": lambda _: of(ns.DeleteNamespaceRequest, name=f"namespaces/{unused()}"),
    "EraseSubject": lambda p: of(ns.EraseSubjectRequest, parent=p, subject="absent"),
}
VECTOR = of(m.Vector, values=[0.0, 0.0])
IN, EXISTS, EQUAL = m.LABEL_OPERATOR_IN, m.LABEL_OPERATOR_EXISTS, m.LABEL_OPERATOR_EQUAL


def condition(parent: str, operator: m.LabelOperator.ValueType, *values: str) -> Message:
    only = m.LabelCondition(label="a", operator=operator, values=values)
    return ms.ListMemoriesRequest(parent=parent, filter=m.MemoryFilter(conditions=[only]))


def remember(parent: str, **memory: object) -> Message:
    return of(ms.RememberRequest, parent=parent, memory={"text": "x", **memory})


def creating(**namespace: object) -> Callable[[str], Message]:
    return lambda _: of(ns.CreateNamespaceRequest, namespace_id=unused(), namespace=namespace)


EXPRESSIONS: Mapping[str, list[tuple[str, Callable[[str], Message]]]] = {
    "vector.direction": [("Recall", lambda p: of(ms.RecallRequest, parent=p, vector=VECTOR))],
    "condition.values": [
        ("ListMemories", lambda p: condition(p, IN)),
        ("ListMemories", lambda p: condition(p, EXISTS, "x")),
        ("ListMemories", lambda p: condition(p, EQUAL)),
        ("ListMemories", lambda p: condition(p, EQUAL, "x", "y")),
    ],
    "remember.text": [("Remember", lambda p: remember(p, text=""))],
    "remember.unset": [
        ("Remember", lambda p: remember(p, name=p + ABSENT)),
        ("Remember", lambda p: remember(p, etag="x")),
        ("Remember", lambda p: remember(p, revision=1)),
        ("Remember", lambda p: remember(p, create_time={"seconds": 1})),
        ("Remember", lambda p: remember(p, update_time={"seconds": 1})),
    ],
    "remember.session_position": [("Remember", lambda p: remember(p, session_position=1))],
    "remember.pinned": [
        ("Remember", lambda p: remember(p, pinned=True, ttl={"seconds": 9})),
        ("Remember", lambda p: remember(p, pinned=True, expire_time={"seconds": 2**33})),
    ],
    "recall.query": [("Recall", lambda p: of(ms.RecallRequest, parent=p))],
    "recall.scores": [
        ("Recall", lambda p: of(ms.RecallRequest, parent=p, vector={"values": [1.0]}, min_score=0.5)),
        ("Recall", lambda p: of(ms.RecallRequest, parent=p, vector={"values": [1.0]}, min_match=0.5)),
    ],
    "update.name": [
        ("UpdateMemory", lambda _: of(ms.UpdateMemoryRequest, memory={"text": "x"})),
        ("UpdateNamespace", lambda _: of(ns.UpdateNamespaceRequest, namespace={"display_name": "x"}, update_mask=MASK)),
    ],
    "update.mask": [
        ("UpdateNamespace", lambda p: of(ns.UpdateNamespaceRequest, namespace={"name": p}, update_mask={}))
    ],
    "create.unset": [
        ("CreateNamespace", creating(name="namespaces/x")),
        ("CreateNamespace", creating(etag="x")),
        ("CreateNamespace", creating(epoch="x")),
        ("CreateNamespace", creating(version=1)),
        ("CreateNamespace", creating(statistics={})),
        ("CreateNamespace", creating(create_time={"seconds": 1})),
        ("CreateNamespace", creating(update_time={"seconds": 1})),
    ],
}
"""Requests that break an expression, by its id."""


def violated(request: Message) -> set[str]:
    """Return the ids of the rules that a request breaks, by the published descriptor."""
    known = RULES.message(request.DESCRIPTOR.name).FromString(request.SerializeToString())
    return {violation.proto.rule_id for violation in Validator().collect_violations(known)}


def cases_of(method: str) -> list[Case]:
    return list(cases(RULES, RULES.pool.FindMessageTypeByName(VALID[method]("namespaces/n").DESCRIPTOR.full_name)))


async def refused_fields(caller: Caller, method: str, request: Message) -> tuple[str, ...]:
    """Return the fields that the service refuses a request for, as INVALID_ARGUMENT; none if it does not."""
    try:
        async with asyncio.timeout(20):
            await caller.call(method, request)
    except grpc.aio.AioRpcError as exc:
        if exc.code() is not grpc.StatusCode.INVALID_ARGUMENT:
            return ()
        status = Status.FromString(dict(exc.trailing_metadata() or ())["grpc-status-details-bin"])
        bad = details.BadRequest()
        assert any(detail.Unpack(bad) for detail in status.details)
        return tuple(violation.field for violation in bad.field_violations)
    return ()


def test_every_method_has_a_valid_request() -> None:
    """The table below has every method, and no rule refuses its request."""
    assert {method.name for method in METHODS.values()} == set(VALID)
    assert {method: violated(make("namespaces/n")) for method, make in VALID.items()} == {
        method: set() for method in VALID
    }


def test_every_cel_expression_has_a_violating_request() -> None:
    """Each expression of the descriptor is broken by a request of the table, so each is evaluated."""
    declared = {
        rule.id
        for message in RULES.pool.FindFileByName(
            "somabrain/memory/v1/memory_service.proto"
        ).message_types_by_name.values()
        for rule in RULES.of_message(message).cel
    }
    assert declared < set(EXPRESSIONS)
    for rule, examples in EXPRESSIONS.items():
        for _, make in examples:
            assert rule in violated(make("namespaces/n"))


@pytest.mark.parametrize("method", VALID)
async def test_service_and_annotations_agree_on_field_rules(caller: Caller, method: str) -> None:
    """At a bound both accept the field; beyond it both refuse it, and the service names it."""
    stored = await caller.call("Remember", VALID["Remember"](caller.parent))
    assert isinstance(stored, ms.RememberResponse)
    disagreements = []
    for case in cases_of(method):
        request = case.apply(VALID[method](caller.parent))
        if isinstance(request, ms.UpdateMemoryRequest) and request.memory.name.endswith(ABSENT):
            request.memory.name = stored.memory.name
        by_rule = any(case.rule.endswith(rule) or rule == case.rule for rule in violated(request))
        fields = await refused_fields(caller, method, request)
        named = any(field.startswith(".".join(case.path)) for field in fields)
        if (by_rule, named) != (case.beyond, case.beyond):
            disagreements.append((case.path, case.rule, "beyond" if case.beyond else "at", by_rule, fields))
    assert not disagreements


@pytest.mark.parametrize(
    ("rule", "number"), [(rule, n) for rule, all_ in EXPRESSIONS.items() for n in range(len(all_))]
)
async def test_service_and_annotations_agree_on_cel_expressions(caller: Caller, rule: str, number: int) -> None:
    """Both refuse it, each with a message of its own."""
    method, make = EXPRESSIONS[rule][number]
    assert rule in violated(make(caller.parent))
    assert await refused_fields(caller, method, make(caller.parent))
