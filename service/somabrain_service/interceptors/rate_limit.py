"""Enforce the request and write rates of the caller's tenant."""

from __future__ import annotations

from google.protobuf.message import Message

from somabrain_service.domain.names import tenant_id
from somabrain_service.interceptors import contract
from somabrain_service.interceptors.call import Call, CallNext
from somabrain_service.interceptors.rate_limiter import RateLimiter


class RateLimit:
    """Interceptor that enforces rate limits."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    async def __call__(self, call: Call, request: Message, call_next: CallNext) -> Message | None:
        """Pass on the call if it is within the tenant's rates."""
        if call.identity is None:
            raise RuntimeError("the quota interceptor must be inside the identity interceptor")
        tenant = tenant_id(call.identity.issuer, call.identity.tenant)
        self._limiter.check(tenant, count_writes(call.method, request))
        return await call_next(call, request)


def count_writes(method: str, request: Message) -> int:
    """Return the number of writes in a call: one per item of a batch."""
    if contract.WRITE_METHODS.isdisjoint(contract.methods_of(method, request)):
        return 0
    return len(getattr(request, "requests", (request,)))
