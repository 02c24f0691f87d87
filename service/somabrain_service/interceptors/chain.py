"""The steps in their order, folded around each method of the contract into one gRPC interceptor.

Health and reflection are exempt by name: they are asked by machines without a token, and hold nothing of anyone.
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
from somabrain_service.interceptors.authentication import Authenticate
from somabrain_service.interceptors.authorization import Authorize
from somabrain_service.interceptors.call import Call, CallNext, Context, Interceptor
from somabrain_service.interceptors.deadline import enforce_deadline
from somabrain_service.interceptors.errors import map_errors
from somabrain_service.interceptors.metrics import RecordMetrics
from somabrain_service.interceptors.rate_limit import RateLimit
from somabrain_service.interceptors.request_id import assign_request_id
from somabrain_service.interceptors.trace import trace_call
from somabrain_service.interceptors.validation import validate
from somabrain_service.metrics import Metrics
from somabrain_service.policy import Policy
from somabrain_service.rate_limiter import RateLimiter

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
    """A step and the name by which its place is known."""

    name: str
    interceptor: Interceptor


def build_interceptors(
    authenticator: Authenticator, rate_limiter: RateLimiter, policy: Policy, metrics: Metrics
) -> tuple[NamedInterceptor, ...]:
    """Return the steps, outermost first."""
    return (
        # First, so that every answer and every line of the log carries the id, also of calls that are refused.
        NamedInterceptor("request_id", assign_request_id),
        # Before everything that takes time, so that its span holds all of it.
        NamedInterceptor("trace", trace_call),
        # Outside errors, because it counts the status that errors gives.
        NamedInterceptor("metrics", RecordMetrics(metrics)),
        # Outside everything that may refuse: one place speaks to the caller.
        NamedInterceptor("errors", map_errors),
        # Inside errors, which says that it passed; outside whatever waits for others on the caller's behalf.
        NamedInterceptor("deadline", enforce_deadline),
        # Before anything that depends on who calls.
        NamedInterceptor("identity", Authenticate(authenticator, metrics)),
        # Before the policy engine is asked: whoever calls too often costs nothing more than knowing who it is.
        NamedInterceptor("quota", RateLimit(rate_limiter)),
        # Before the request is looked into: who may not call learns nothing about what would be valid.
        NamedInterceptor("policy", Authorize(policy)),
        # Last: servicers see nothing that only the server may set.
        NamedInterceptor("validation", validate),
    )


class InterceptorChain(grpc.aio.ServerInterceptor):
    """All steps as one interceptor; each method is wrapped once."""

    def __init__(self, interceptors: tuple[NamedInterceptor, ...]) -> None:
        self._interceptors = tuple(item.interceptor for item in interceptors)
        self._wrapped: dict[str, object] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Request, Response] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Request, Response] | None:
        """Return the method's handler with the steps around it; as it is, when it is exempt or there is none."""
        method = handler_call_details.method
        if method not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None or method.startswith(EXEMPT_PREFIXES):
                return handler
            self._wrapped[method] = _wrap(method, handler, self._interceptors)
        return cast("grpc.RpcMethodHandler[Request, Response]", self._wrapped[method])


def compose(interceptors: tuple[Interceptor, ...], innermost: CallNext) -> CallNext:
    """Return one callable: the first step outermost."""
    return reduce(lambda inner, step: partial(step, call_next=inner), reversed(interceptors), innermost)


def _wrap(
    method: str, handler: grpc.RpcMethodHandler[Request, Response], interceptors: tuple[Interceptor, ...]
) -> grpc.RpcMethodHandler[Request, Response]:
    if handler.request_streaming:
        raise RuntimeError(f"{method} streams requests, and the steps are made for one request a call")
    streaming = handler.response_streaming
    # The stubs know the synchronous server's signatures alone; servicers here are coroutines.
    unary, stream = cast("Unary", handler.unary_unary), cast("Stream", handler.unary_stream)

    async def innermost(call: Call, request: Message) -> Message | None:
        if not streaming:
            return await unary(request, call.context)
        # Closed at once when the call ends early, so that what the stream holds is given back.
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
