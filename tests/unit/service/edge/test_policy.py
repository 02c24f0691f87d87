"""The input of a policy decision, and how its response is parsed."""

from __future__ import annotations

from importlib.resources import files

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from somabrain.memory.v1 import memory_service_pb2 as memory
from somabrain.memory.v1 import namespace_service_pb2 as namespace
from somabrain.memory.v1.memory_pb2 import Memory
from somabrain_service.authz.opa import MAX_REASONS, Decision, PolicyInput, parse_decision
from somabrain_service.interceptors.authentication import bearer_token
from somabrain_service.interceptors.authorization import namespace_of
from tests.contract import METHODS, path, sample_request

REQUESTS: list[tuple[Message, str]] = [
    (memory.RememberRequest(parent="namespaces/notes"), "notes"),
    (memory.GetMemoryRequest(name="namespaces/notes/memories/m"), "notes"),
    (memory.ListRevisionsRequest(parent="namespaces/notes/memories/m"), "notes"),
    (memory.UpdateMemoryRequest(memory=Memory(name="namespaces/notes/memories/m")), "notes"),
    (namespace.CreateNamespaceRequest(namespace_id="notes"), "notes"),
    (namespace.UpdateNamespaceRequest(namespace=namespace.Namespace(name="namespaces/notes")), "notes"),
    (namespace.DeleteNamespaceRequest(name="namespaces/notes"), "notes"),
    (namespace.ListNamespacesRequest(), ""),
    (memory.RememberRequest(parent="namespaces/"), ""),
    (memory.RememberRequest(parent="namespaces/NOTES"), ""),
    (memory.RememberRequest(parent="namespaces/" + "n" * 64), ""),
    (memory.RememberRequest(parent="somewhere/notes"), ""),
]


@pytest.mark.parametrize(("request_", "expected"), REQUESTS)
def test_the_namespace_is_found_wherever_the_contract_has_it(request_: Message, expected: str) -> None:
    assert namespace_of(request_) == expected


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_is_about_a_namespace_but_the_one_that_lists_them(method: MethodDescriptor) -> None:
    """Each method but ListNamespaces has a namespace, so that a policy by namespace applies to it."""
    assert namespace_of(sample_request(method, "notes")) == ("" if method.name == "ListNamespaces" else "notes")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_has_its_scope_in_the_default_policy(method: MethodDescriptor) -> None:
    policy = files("common.policy").joinpath("sb.rego").read_text()
    assert policy.count(f'"{path(method)}"') == 1


def test_a_newline_does_not_end_a_name() -> None:
    assert namespace_of(memory.GetMemoryRequest(name="namespaces/notes/memories/a\nb")) == "notes"
    assert namespace_of(memory.RememberRequest(parent="namespaces/notes\n")) == ""


def test_true_and_nothing_else_allows() -> None:
    assert parse_decision({"result": {"allow": True}}) == Decision(True)


json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["result", "allow", "reasons", "x"]), inner),
)


@given(json)
def test_any_other_answer_denies(document: object) -> None:
    allowed = parse_decision(document).allowed
    has_result = isinstance(document, dict) and isinstance(document.get("result"), dict)
    assert not allowed or (has_result and document["result"]["allow"] is True)  # type: ignore[index]


@pytest.mark.parametrize("allow", ["true", 1, [True], {"allow": True}, None])
def test_what_looks_like_true_is_not(allow: object) -> None:
    assert not parse_decision({"result": {"allow": allow}}).allowed


def test_reasons_are_kept_and_bounded() -> None:
    reasons = ["r" * 10_000] * 100
    decision = parse_decision({"result": {"allow": False, "reasons": [7, *reasons]}})
    assert len(decision.reasons) == MAX_REASONS
    assert all(len(reason) <= 200 for reason in decision.reasons)


def test_no_scope_claim_is_asked_as_null_and_no_scopes_as_none_held() -> None:
    policy_input = PolicyInput("s", "t", None, "/m", "n")
    assert policy_input.to_json()["scopes"] is None
    assert policy_input._replace(scopes=frozenset()).to_json()["scopes"] == []


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("Bearer abc, Bearer def", None),
        (None, None),
    ],
)
def test_one_bearer_token_or_none(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token
