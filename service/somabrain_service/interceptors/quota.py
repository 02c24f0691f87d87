"""Counts each call against the rates of its tenant."""

from __future__ import annotations

from google.protobuf.message import Message

from somabrain_service.domain.names import tenant_id
from somabrain_service.interceptors import contract
from somabrain_service.interceptors.call import Call, Proceed
from somabrain_service.quotas import Quotas


class Ration:
    """The quota step."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    async def __call__(self, call: Call, request: Message, proceed: Proceed) -> Message | None:
        """Let pass what the tenant has left."""
        if call.identity is None:
            raise RuntimeError("the quota step stands before the identity step")
        tenant = tenant_id(call.identity.issuer, call.identity.tenant)
        self._quotas.spend(tenant, writes_of(call.method, request))
        return await proceed(call, request)


def writes_of(method: str, request: Message) -> int:
    """Return how many writes a call would be: each item of a batch is one."""
    if method not in contract.WRITES:
        return 0
    return len(getattr(request, "requests", (request,)))
