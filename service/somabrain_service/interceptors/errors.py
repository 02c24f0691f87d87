"""The one table from errors to gRPC statuses, with the details of google.rpc (AIP-193).

Whatever is not in the tree becomes INTERNAL with a fixed sentence. Causes go to the log by type and place; with
their message only where it is our own, because a foreign one could hold a memory's text or a secret.
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
from somabrain_service.interceptors.call import Call, Proceed
from somabrain_service.interceptors.request_id import HEADER

DOMAIN = "somabrain.io"
DETAILS = "grpc-status-details-bin"
RETRY_S = 1.0
OWN = ("common.", "somabrain_service.")
INTERNAL = "The service failed. Its log says why, under this call's request id."

STATUS: Mapping[type[errors.SomaBrainError], grpc.StatusCode] = {
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
    # A process that was told something impossible does not start; met in a call, it is our failure.
    errors.ConfigurationError: grpc.StatusCode.INTERNAL,
}

_log = structlog.get_logger(__name__)


async def answer_errors(call: Call, request: Message, proceed: Proceed) -> Message | None:
    """Turn what is raised into a status with details."""
    try:
        return await proceed(call, request)
    except Exception as exc:  # noqa: BLE001 - the boundary: nothing passes it without a status
        await _abort(call, exc)


async def _abort(call: Call, exc: Exception) -> NoReturn:
    status = to_status(exc, call.request_id)
    code = _CODES[status.code]
    if code in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE}:
        _log.error("call failed", code=code.name, causes=causes(exc))
    elif isinstance(exc, errors.Unauthenticated):
        _log.info("caller refused", cause=exc.cause)
    metadata = ((HEADER, call.request_id), (DETAILS, status.SerializeToString()))
    await call.context.abort(code, status.message, metadata)
    raise AssertionError("abort raises")


_CODES = {code.value[0]: code for code in grpc.StatusCode}


def to_status(exc: Exception, request_id: str) -> status_pb2.Status:
    """Return the google.rpc.Status of an error; it is all a caller is told."""
    code = next((STATUS[kind] for kind in type(exc).__mro__ if kind in STATUS), grpc.StatusCode.INTERNAL)
    if not isinstance(exc, errors.SomaBrainError) or code is grpc.StatusCode.INTERNAL:
        exc = errors.SomaBrainError(INTERNAL)
    status = status_pb2.Status(code=code.value[0], message=exc.message)
    for detail in _details(exc, request_id):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def to_item_status(exc: Exception) -> status_pb2.Status:
    """Return the status of one item of the batch being handled: with the details that a call of its own would have."""
    return to_status(exc, str(structlog.contextvars.get_contextvars().get("request_id", "")))


def _details(exc: errors.SomaBrainError, request_id: str) -> Iterator[Message]:
    yield details.ErrorInfo(reason=exc.reason, domain=DOMAIN, metadata=exc.metadata)
    yield details.RequestInfo(request_id=request_id)
    match exc:
        case errors.InvalidArgument():
            violation = details.BadRequest.FieldViolation(field=exc.field, description=exc.description)
            yield details.BadRequest(field_violations=[violation])
        case errors.NotFound():
            yield details.ResourceInfo(resource_type=exc.resource_type, resource_name=exc.name)
        case errors.Unavailable():
            yield _retry(RETRY_S)
        case errors.ResourceExhausted():
            if exc.quota:
                metric = f"{DOMAIN}/{exc.quota}"
                failed = details.QuotaFailure.Violation(
                    subject="tenant", description=exc.message, quota_metric=metric, quota_value=int(exc.limit)
                )
                yield details.QuotaFailure(violations=[failed])
            if exc.retry_after_s is not None:
                yield _retry(exc.retry_after_s)


def _retry(after_s: float) -> details.RetryInfo:
    delay = Duration()
    delay.FromNanoseconds(int(after_s * 1e9))
    return details.RetryInfo(retry_delay=delay)


def causes(exc: BaseException) -> list[str]:
    """Return the chain of an error, outermost first: type, place, and the message of our own."""
    chain: list[str] = []
    seen: BaseException | None = exc
    while seen is not None and len(chain) < 10:
        frames = traceback.extract_tb(seen.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else "nowhere"
        kind = f"{type(seen).__module__}.{type(seen).__qualname__}"
        said = f": {seen}" if kind.startswith(OWN) else ""
        chain.append(f"{kind} at {place}{said}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return chain
