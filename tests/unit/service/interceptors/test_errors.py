"""The mapping of errors to gRPC statuses."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from common import errors
from somabrain_service.encoders.protocols import EncoderUnavailable
from somabrain_service.interceptors.errors import INTERNAL_MESSAGE, STATUS_CODES, cause_chain, to_status


def leaves(kind: type[errors.SomaBrainError]) -> set[type[errors.SomaBrainError]]:
    """All subclasses of `kind` that have no subclasses themselves."""
    below = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return set().union(*map(leaves, below)) if below else {kind}


def detail(status: status_pb2.Status, into: Message) -> bool:
    return any(item.Unpack(into) for item in status.details)


def test_every_leaf_error_has_a_status() -> None:
    assert leaves(errors.SomaBrainError) <= set(STATUS_CODES)


def test_error_reasons_are_distinct() -> None:
    reasons = [kind.reason for kind in STATUS_CODES]
    assert len(set(reasons)) == len(reasons)


def test_unlisted_error_is_internal_without_its_message() -> None:
    status = to_status(ValueError("secret text of a memory"), "r1")
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert status.message == INTERNAL_MESSAGE
    assert b"secret" not in status.SerializeToString()


def test_subclass_error_has_status_of_its_parent() -> None:
    status = to_status(EncoderUnavailable("The encoder does not answer."), "r1")
    assert status.code == grpc.StatusCode.UNAVAILABLE.value[0]
    info = details.ErrorInfo()
    assert detail(status, info)
    assert (info.reason, info.domain) == ("ENCODER_UNAVAILABLE", "somabrain.io")


def test_invalid_field_is_in_bad_request_detail() -> None:
    bad = details.BadRequest()
    assert detail(to_status(errors.InvalidArgument("top_k", "must be between 1 and 200"), "r1"), bad)
    assert [(item.field, item.description) for item in bad.field_violations] == [("top_k", "must be between 1 and 200")]


def test_missing_resource_is_in_resource_info_detail() -> None:
    info = details.ResourceInfo()
    assert detail(to_status(errors.NotFound("Namespace", "namespaces/a"), "r1"), info)
    assert (info.resource_type, info.resource_name) == ("Namespace", "namespaces/a")


@pytest.mark.parametrize(
    ("error", "after_s"),
    [
        (errors.StoreUnavailable("PostgreSQL cannot be reached."), 1.0),
        (errors.ResourceExhausted("Too many calls.", retry_after_s=2.5), 2.5),
    ],
)
def test_transient_error_has_retry_delay(error: errors.SomaBrainError, after_s: float) -> None:
    retry = details.RetryInfo()
    assert detail(to_status(error, "r1"), retry)
    assert retry.retry_delay.ToTimedelta().total_seconds() == after_s


def test_exhausted_storage_quota_has_no_retry_delay() -> None:
    assert not detail(to_status(errors.ResourceExhausted("The quota is used up."), "r1"), details.RetryInfo())


def test_unauthenticated_status_hides_reason() -> None:
    status = to_status(errors.Unauthenticated("expired"), "r1")
    assert b"expired" not in status.SerializeToString()


def test_request_id_is_in_status_details() -> None:
    info = details.RequestInfo()
    assert detail(to_status(errors.Aborted("Read again."), "r1"), info)
    assert info.request_id == "r1"


def test_cause_chain_omits_foreign_messages() -> None:
    foreign = ValueError("the text of a memory")
    ours = errors.StoreUnavailable("PostgreSQL cannot be reached.")
    ours.__cause__ = foreign
    assert cause_chain(ours) == [
        "common.errors.StoreUnavailable at unknown location: PostgreSQL cannot be reached.",
        "builtins.ValueError at unknown location",
    ]


def test_quota_failure_names_quota_and_limit() -> None:
    refused = errors.ResourceExhausted("The tenant may hold 5.", quota="memories", limit=5)
    failure = details.QuotaFailure()
    assert detail(to_status(refused, "r1"), failure)
    assert [(v.subject, v.quota_metric, v.quota_value) for v in failure.violations] == [
        ("tenant", "somabrain.io/memories", 5)
    ]
    assert not detail(to_status(errors.ResourceExhausted("Too many watches."), "r1"), details.QuotaFailure())
