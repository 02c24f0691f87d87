"""What a call can fail with: one class a gRPC status, each with the server's reason (AIP-193)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
import grpc.aio
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """What the server says beside its sentence; empty where it says nothing."""

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    retry_after_s: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    """Fields of the request that are out of their bound, each with what is wrong."""


class CallError(Exception):
    """A call that failed for good, after retries."""

    def __init__(self, code: grpc.StatusCode, message: str, error_details: ErrorDetails) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = error_details.reason
        self.details = error_details


class InvalidArgumentError(CallError):
    """A field is out of its bound; `explanation.fields` says which."""


class UnauthenticatedError(CallError):
    """The token is missing or not valid."""


class PermissionDeniedError(CallError):
    """A rule says no; the message names it."""


class NotFoundError(CallError):
    """No such resource for this tenant."""


class AlreadyExistsError(CallError):
    """The name, or the request id with another body, is taken."""


class AbortedError(CallError):
    """An etag is not the current one: read again, then try again."""


class FailedPreconditionError(CallError):
    """The state of the system does not allow it."""


class OutOfRangeError(CallError):
    """A cursor is older than what is kept."""


class ResourceExhaustedError(CallError):
    """A quota or a rate is used up; `explanation.retry_after_s` says when trying again is right."""


class UnimplementedError(CallError):
    """The server does not honour this part of the contract."""


class UnavailableError(CallError):
    """The service cannot be reached, or something it needs; the retries are used up."""


class DeadlineExceededError(CallError):
    """The call did not end within its deadline."""


class InternalError(CallError):
    """The service failed; its log says why, under `explanation.request_id`."""


_CLASSES: Mapping[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.ABORTED: AbortedError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRangeError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.INTERNAL: InternalError,
}


def from_rpc(error: grpc.aio.AioRpcError) -> CallError:
    """Return the typed error of a failed call."""
    error_class = _CLASSES.get(error.code(), CallError)
    return error_class(error.code(), error.details() or error.code().name, details_from_rpc(error))


def from_status(status: status_pb2.Status) -> CallError:
    """Return the typed error of one item of a batch."""
    code = next((code for code in grpc.StatusCode if code.value[0] == status.code), grpc.StatusCode.UNKNOWN)
    error_class = _CLASSES.get(code, CallError)
    return error_class(code, status.message or code.name, _details_from_status(status))


def details_from_rpc(error: grpc.aio.AioRpcError) -> ErrorDetails:
    """Return the details that came in the trailing metadata."""
    serialized = next((value for key, value in error.trailing_metadata() or () if key == DETAILS), None)
    return (
        _details_from_status(status_pb2.Status.FromString(serialized))
        if isinstance(serialized, bytes)
        else ErrorDetails()
    )


def _details_from_status(status: status_pb2.Status) -> ErrorDetails:
    info, retry, bad, request = (
        details.ErrorInfo(), details.RetryInfo(), details.BadRequest(), details.RequestInfo(),
    )  # fmt: skip
    for item in status.details:
        for message in (info, retry, bad, request):
            item.Unpack(message)
    return ErrorDetails(
        reason=info.reason,
        metadata=dict(info.metadata),
        request_id=request.request_id,
        retry_after_s=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
        fields={violation.field: violation.description for violation in bad.field_violations},
    )
