"""Authorize the call: query the policy for this caller, method and namespace."""

from __future__ import annotations

import re

from google.protobuf.message import Message

from common.utils.trace import span
from somabrain_service.authz.opa import Policy
from somabrain_service.interceptors import contract
from somabrain_service.interceptors.call import Call, CallNext

_NAMESPACE_PATH = re.compile(r"namespaces/([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(/.*)?", re.DOTALL)


class Authorize:
    """Interceptor that enforces the policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def __call__(self, call: Call, request: Message, call_next: CallNext) -> Message | None:
        """Pass on the call if the policy allows it."""
        if call.identity is None:
            raise RuntimeError("the policy interceptor must be inside the identity interceptor")
        with span("policy"):
            for method in contract.methods_of(call.method, request):
                await self._policy.require(call.identity, method, namespace_of(request))
        return await call_next(call, request)


def namespace_of(request: Message) -> str:
    """Return the id of the namespace that a request refers to; "" if it is missing or malformed.

    By the contract's convention the id is in `parent`, `name`, or the `name` of the resource to be changed, and in
    `namespace_id` if it is to be created. Malformed names are rejected later, when the request is parsed.
    """
    fields = request.DESCRIPTOR.fields_by_name
    if "namespace_id" in fields:
        name = f"namespaces/{getattr(request, 'namespace_id')}"  # noqa: B009 - the field is known only at run time
    elif "parent" in fields or "name" in fields:
        name = getattr(request, "parent" if "parent" in fields else "name")
    else:
        resource = next((field for field in ("memory", "namespace") if field in fields), None)
        name = getattr(request, resource).name if resource else ""
    match = _NAMESPACE_PATH.fullmatch(name)
    return match[1] if match else ""
