"""Create one span per call in the caller's trace, and add its ids to log lines.

Names and attributes follow OpenTelemetry's semantic conventions for gRPC.
"""

from __future__ import annotations

import grpc
import structlog
from google.protobuf.message import Message
from opentelemetry.trace import Status, StatusCode

from common.utils.trace import server_span
from somabrain_service.interceptors.call import Call, CallNext

# Statuses that the semantic conventions count as errors of server spans.
_SERVER_FAILURES = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


async def trace_call(call: Call, request: Message, call_next: CallNext) -> Message | None:
    """Trace the call; its status is known once the errors interceptor has set it."""
    name = call.method.removeprefix("/")
    service, _, method = name.rpartition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
    with server_span(name, call.metadata, {**attributes, "somabrain.request_id": call.request_id}) as span:
        ids = span.get_span_context()
        if ids.is_valid:
            structlog.contextvars.bind_contextvars(trace_id=f"{ids.trace_id:032x}", span_id=f"{ids.span_id:016x}")
        completed = False
        try:
            response = await call_next(call, request)
            completed = True
            return response
        finally:
            code = call.status_code(completed)
            span.set_attribute("rpc.grpc.status_code", code.value[0])
            if code in _SERVER_FAILURES:
                span.set_status(Status(StatusCode.ERROR))
