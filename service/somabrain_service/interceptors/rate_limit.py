"""Counts each call against the rates of its tenant."""

from __future__ import annotations

from google.protobuf.message import Message

from somabrain_service.domain.names import tenant_id
from somabrain_service.interceptors import contract
from somabrain_service.interceptors.call import Call, CallNext
from somabrain_service.rate_limiter import RateLimiter


class RateLimit:
    """The quota step."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    async def __call__(self, call: Call, request: Message, call_next: CallNext) -> Message | None:
        """Let pass what the tenant has left."""
        if call.identity is None:
            raise RuntimeError("the quota step stands before the identity step")
        tenant = tenant_id(call.identity.issuer, call.identity.tenant)
        self._limiter.check(tenant, count_writes(call.method, request))
        return await call_next(call, request)


def count_writes(method: str, request: Message) -> int:
    """Return how many writes a call would be: each item of a batch is one."""
    if method not in contract.WRITE_METHODS:
        return 0
    return len(getattr(request, "requests", (request,)))
