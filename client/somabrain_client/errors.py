"""Errors of calls: one class per gRPC status code, each with the server's reason (AIP-193)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from somabrain_client.former_names import ERRORS, former_names, warn

DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """Details of an error beside its message (AIP-193); empty where the server sends none.

    `retry_after_s`: seconds to wait before a retry; None: the server gives no delay.
    """

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    retry_after_s: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    """Invalid fields of the request, each with a description of the violation."""


class CallError(Exception):
    """A call that failed, after all retries."""

    def __init__(self, code: grpc.StatusCode, message: str, error_details: ErrorDetails) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = error_details.reason
        self.details = error_details

    @property
    def explanation(self) -> ErrorDetails:
        """The former name of `details`, until 0.3."""
        warn("CallError.explanation", "CallError.details", stacklevel=3)
        return self.details


class InvalidArgumentError(CallError):
    """A field is out of its bound; `details.fields` names it."""


class UnauthenticatedError(CallError):
    """The bearer token is missing or invalid."""


class PermissionDeniedError(CallError):
    """A policy rule denies the call; the message names the rule."""


class NotFoundError(CallError):
    """No such resource for this tenant."""


class AlreadyExistsError(CallError):
    """The name, or the request id with another body, is taken."""


class AbortedError(CallError):
    """An etag is not the current one: read again, then retry."""


class FailedPreconditionError(CallError):
    """The state of the system does not allow the call."""


class OutOfRangeError(CallError):
    """A cursor is older than the retained changes."""


class ResourceExhaustedError(CallError):
    """A quota or a rate limit is exhausted; `details.retry_after_s` is the time to wait before a retry."""


class UnimplementedError(CallError):
    """The server does not support this part of the contract."""


class UnavailableError(CallError):
    """The service or one of its dependencies is unavailable, and the retries are exhausted."""


class DeadlineExceededError(CallError):
    """The call did not end within its deadline."""


class InternalError(CallError):
    """The service failed; its log gives the cause, under `details.request_id`."""


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
    """Return the details in the trailing metadata; empty without any."""
    serialized = next((value for key, value in error.trailing_metadata() or () if key == DETAILS), None)
    return (
        _details_from_status(status_pb2.Status.FromString(serialized))
        if isinstance(serialized, bytes)
        else ErrorDetails()
    )


def _details_from_status(status: status_pb2.Status) -> ErrorDetails:
    info, retry, bad, request = (
        details.ErrorInfo(),
        details.RetryInfo(),
        details.BadRequest(),
        details.RequestInfo(),
    )
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


if not TYPE_CHECKING:  # type checkers know the present names only
    __getattr__ = former_names(__name__, ERRORS)
