"""Mapping of errors to gRPC statuses, with the details of google.rpc (AIP-193).

An error that is not a `SomaBrainError` becomes INTERNAL with a fixed message. Causes are logged with type and location,
and with their message only if the error is this project's own: others could contain a memory's text or a secret.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from typing import NoReturn

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from common import errors
from somabrain_service.interceptors.call import Call, CallNext
from somabrain_service.interceptors.request_id import REQUEST_ID_HEADER

ERROR_DOMAIN = "somabrain.io"
DETAILS_HEADER = "grpc-status-details-bin"
RETRY_DELAY_S = 1.0
OWN_PACKAGES = ("common.", "somabrain_service.")
INTERNAL_MESSAGE = "Internal error. The server's log has the cause under this call's request id."

STATUS_CODES: Mapping[type[errors.SomaBrainError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    # A process with invalid configuration does not start; raised in a call, it is a bug of the server.
    errors.ConfigurationError: grpc.StatusCode.INTERNAL,
}

_log = structlog.stdlib.get_logger(__name__)


async def map_errors(call: Call, request: Message, call_next: CallNext) -> Message | None:
    """Convert exceptions into a status with details."""
    try:
        return await call_next(call, request)
    except Exception as exc:  # noqa: BLE001 - the boundary: every exception gets a status
        await _abort(call, exc)


async def _abort(call: Call, exc: Exception) -> NoReturn:
    status = to_status(exc, call.request_id)
    code = _CODES_BY_NUMBER[status.code]
    if code in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE}:
        _log.error("call failed", code=code.name, causes=cause_chain(exc))
    elif isinstance(exc, errors.Unauthenticated):
        _log.info("authentication failed", cause=exc.cause)
    metadata = ((REQUEST_ID_HEADER, call.request_id), (DETAILS_HEADER, status.SerializeToString()))
    await call.context.abort(code, status.message, metadata)
    raise AssertionError("abort raises")


_CODES_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def to_status(exc: Exception, request_id: str) -> status_pb2.Status:
    """Return the google.rpc.Status of an error; callers receive nothing else about it."""
    code = next((STATUS_CODES[kind] for kind in type(exc).__mro__ if kind in STATUS_CODES), grpc.StatusCode.INTERNAL)
    if not isinstance(exc, errors.SomaBrainError) or code is grpc.StatusCode.INTERNAL:
        exc = errors.SomaBrainError(INTERNAL_MESSAGE)
    status = status_pb2.Status(code=code.value[0], message=exc.message)
    for detail in _error_details(exc, request_id):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def to_item_status(exc: Exception) -> status_pb2.Status:
    """Return the status of one item of the current batch, with the same details as for a single call."""
    return to_status(exc, str(structlog.contextvars.get_contextvars().get("request_id", "")))


def _error_details(exc: errors.SomaBrainError, request_id: str) -> Iterator[Message]:
    yield details.ErrorInfo(reason=exc.reason, domain=ERROR_DOMAIN, metadata=exc.metadata)
    yield details.RequestInfo(request_id=request_id)
    match exc:
        case errors.InvalidArgument():
            violation = details.BadRequest.FieldViolation(field=exc.field, description=exc.description)
            yield details.BadRequest(field_violations=[violation])
        case errors.AlreadyExists() if exc.holder:
            yield details.ResourceInfo(resource_type="Memory", resource_name=exc.holder)
        case errors.NotFound():
            yield details.ResourceInfo(resource_type=exc.resource_type, resource_name=exc.name)
        case errors.Unavailable():
            yield _retry_info(RETRY_DELAY_S)
        case errors.ResourceExhausted():
            if exc.quota:
                quota_metric = f"{ERROR_DOMAIN}/{exc.quota}"
                quota_violation = details.QuotaFailure.Violation(
                    subject="tenant", description=exc.message, quota_metric=quota_metric, quota_value=int(exc.limit)
                )
                yield details.QuotaFailure(violations=[quota_violation])
            if exc.retry_after_s is not None:
                yield _retry_info(exc.retry_after_s)


def _retry_info(after_s: float) -> details.RetryInfo:
    delay = Duration()
    delay.FromNanoseconds(int(after_s * 1e9))
    return details.RetryInfo(retry_delay=delay)


def cause_chain(exc: BaseException) -> list[str]:
    """Return an error's chain of causes, outermost first: type, location, and the message of own errors."""
    chain: list[str] = []
    error: BaseException | None = exc
    while error is not None and len(chain) < 10:
        frames = traceback.extract_tb(error.__traceback__)
        location = f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else "unknown location"
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        message = f": {error}" if kind.startswith(OWN_PACKAGES) else ""
        chain.append(f"{kind} at {location}{message}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return chain
