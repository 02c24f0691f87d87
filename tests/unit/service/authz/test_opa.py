"""The input of a policy decision, and how its response is parsed."""

from __future__ import annotations

from importlib.resources import files

import pytest
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import given
from hypothesis import strategies as st

from somabrain_service.authz.opa import MAX_REASONS, Decision, PolicyInput, parse_decision
from tests.contract import METHODS, path


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_default_policy_lists_every_method_once(method: MethodDescriptor) -> None:
    policy = files("common.policy").joinpath("sb.rego").read_text()
    assert policy.count(f'"{path(method)}"') == 1


def test_allow_true_is_allowed() -> None:
    assert parse_decision({"result": {"allow": True}}) == Decision(True)


json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["result", "allow", "reasons", "x"]), inner),
)


@given(json)
def test_any_other_response_is_denied(document: object) -> None:
    allowed = parse_decision(document).allowed
    has_result = isinstance(document, dict) and isinstance(document.get("result"), dict)
    assert not allowed or (has_result and document["result"]["allow"] is True)  # type: ignore[index]


@pytest.mark.parametrize("allow", ["true", 1, [True], {"allow": True}, None])
def test_truthy_allow_is_denied(allow: object) -> None:
    assert not parse_decision({"result": {"allow": allow}}).allowed


def test_decision_reasons_are_bounded() -> None:
    reasons = ["r" * 10_000] * 100
    decision = parse_decision({"result": {"allow": False, "reasons": [7, *reasons]}})
    assert len(decision.reasons) == MAX_REASONS
    assert all(len(reason) <= 200 for reason in decision.reasons)


def test_missing_scope_claim_is_null_and_empty_scopes_are_a_list() -> None:
    policy_input = PolicyInput("s", "t", None, "/m", "n")
    assert policy_input.to_json()["scopes"] is None
    assert policy_input._replace(scopes=frozenset()).to_json()["scopes"] == []
