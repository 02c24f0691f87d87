"""The ordered interceptors, composed around each method of the contract into one gRPC interceptor.

Health and reflection are exempt by name: probes and tools call them without a token, and they return no user data.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial, reduce
from typing import NamedTuple, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from common.utils.auth_client import Authenticator
from somabrain_service.authz.opa import Policy
from somabrain_service.interceptors.authentication import Authenticate
from somabrain_service.interceptors.authorization import Authorize
from somabrain_service.interceptors.call import Call, CallNext, Context, Interceptor
from somabrain_service.interceptors.deadline import enforce_deadline
from somabrain_service.interceptors.errors import map_errors
from somabrain_service.interceptors.metrics import RecordMetrics
from somabrain_service.interceptors.rate_limit import RateLimit
from somabrain_service.interceptors.rate_limiter import RateLimiter
from somabrain_service.interceptors.request_id import assign_request_id
from somabrain_service.interceptors.trace import trace_call
from somabrain_service.interceptors.validation import validate
from somabrain_service.metrics import Metrics

EXEMPT_PREFIXES = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)

Request = TypeVar("Request")
Response = TypeVar("Response")
Unary = Callable[[Message, Context], Awaitable[Message]]
HandlerFactory = Callable[..., object]
Stream = Callable[[Message, Context], AsyncGenerator[Message, None]]


class NamedInterceptor(NamedTuple):
    """An interceptor and its name; the name identifies its position in the order."""

    name: str
    interceptor: Interceptor


def build_interceptors(
    authenticator: Authenticator, rate_limiter: RateLimiter, policy: Policy, metrics: Metrics
) -> tuple[NamedInterceptor, ...]:
    """Return the interceptors, outermost first."""
    return (
        # First, so that every response and log line has the id, also of rejected calls.
        NamedInterceptor("request_id", assign_request_id),
        # Before everything that takes time, so that its span covers all of it.
        NamedInterceptor("trace", trace_call),
        # Outside errors, because it counts the status that errors sets.
        NamedInterceptor("metrics", RecordMetrics(metrics)),
        # Outside everything that may reject: one place sends errors to the caller.
        NamedInterceptor("errors", map_errors),
        # Inside errors, which reports DEADLINE_EXCEEDED; outside everything that waits on the caller's behalf.
        NamedInterceptor("deadline", enforce_deadline),
        # Before anything that depends on the caller.
        NamedInterceptor("identity", Authenticate(authenticator, metrics)),
        # Before the policy query: a caller over its rate costs no more than its authentication.
        NamedInterceptor("quota", RateLimit(rate_limiter)),
        # Before validation: a caller without permission learns nothing about which requests are valid.
        NamedInterceptor("policy", Authorize(policy)),
        # Last: servicers see no field that only the server may set.
        NamedInterceptor("validation", validate),
    )


class InterceptorChain(grpc.aio.ServerInterceptor):
    """All interceptors as one gRPC interceptor; each method is wrapped once."""

    def __init__(self, interceptors: tuple[NamedInterceptor, ...]) -> None:
        self._interceptors = tuple(item.interceptor for item in interceptors)
        self._wrapped: dict[str, object] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Request, Response] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Request, Response] | None:
        """Return the method's handler wrapped in the interceptors; unwrapped if the method is exempt or unknown."""
        method = handler_call_details.method
        if method not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None or method.startswith(EXEMPT_PREFIXES):
                return handler
            self._wrapped[method] = _wrap(method, handler, self._interceptors)
        return cast("grpc.RpcMethodHandler[Request, Response]", self._wrapped[method])


def compose(interceptors: tuple[Interceptor, ...], innermost: CallNext) -> CallNext:
    """Return one callable, with the first interceptor outermost."""
    return reduce(lambda inner, outer: partial(outer, call_next=inner), reversed(interceptors), innermost)


def _wrap(
    method: str, handler: grpc.RpcMethodHandler[Request, Response], interceptors: tuple[Interceptor, ...]
) -> grpc.RpcMethodHandler[Request, Response]:
    if handler.request_streaming:
        raise RuntimeError(f"{method} streams requests; the interceptors support one request per call")
    streaming = handler.response_streaming
    # The stubs only have the synchronous server's signatures; these servicers are coroutines.
    unary, stream = cast("Unary", handler.unary_unary), cast("Stream", handler.unary_stream)

    async def innermost(call: Call, request: Message) -> Message | None:
        if not streaming:
            return await unary(request, call.context)
        # Closed at once if the call ends early, so that the stream releases its resources.
        async with aclosing(stream(request, call.context)) as messages:
            async for message in messages:
                await call.context.write(message)
        return None

    call_next = compose(interceptors, innermost)

    async def behaviour(request: Message, context: Context) -> Message | None:
        return await call_next(Call(method, streaming, _metadata(context), context), request)

    make_handler: HandlerFactory = (
        grpc.unary_stream_rpc_method_handler if streaming else grpc.unary_unary_rpc_method_handler
    )
    wrapped = make_handler(behaviour, handler.request_deserializer, handler.response_serializer)
    return cast("grpc.RpcMethodHandler[Request, Response]", wrapped)


def _metadata(context: Context) -> dict[str, str]:
    joined: dict[str, str] = {}
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined
