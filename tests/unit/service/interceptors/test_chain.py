"""The order and the composition of the interceptors."""

from __future__ import annotations

from google.protobuf.message import Message

from common.config.settings import QuotaSettings
from common.utils.auth_client import AnonymousAuthenticator
from somabrain_service.authz.opa import AllowAll
from somabrain_service.flags.registry import FixedFlags
from somabrain_service.interceptors.call import Call, CallNext, Interceptor
from somabrain_service.interceptors.chain import build_interceptors, compose
from somabrain_service.interceptors.rate_limiter import RateLimiter
from somabrain_service.metrics import Metrics


def test_interceptor_order() -> None:
    """The interceptors are in the order of the design; another one would expose callers or errors."""
    metrics = Metrics()
    quotas = RateLimiter(FixedFlags(), QuotaSettings(), metrics)
    names = [item.name for item in build_interceptors(AnonymousAuthenticator("a"), quotas, AllowAll(), metrics)]
    assert names == [
        "request_id",
        "trace",
        "metrics",
        "errors",
        "deadline",
        "identity",
        "quota",
        "policy",
        "validation",
    ]


async def test_first_interceptor_is_outermost() -> None:
    """The first interceptor begins before, and ends after, all that follow it."""
    calls: list[str] = []

    def named(name: str) -> Interceptor:
        async def step(call: Call, request: Message, call_next: CallNext) -> Message | None:
            calls.append(f"{name} begins")
            response = await call_next(call, request)
            calls.append(f"{name} ends")
            return response

        return step

    async def innermost(call: Call, request: Message) -> Message | None:
        calls.append("handler")
        return None

    await compose((named("a"), named("b")), innermost)(None, None)  # type: ignore[arg-type]
    assert calls == ["a begins", "b begins", "handler", "b ends", "a ends"]
