"""Asks the policy whether this caller may do this to that namespace."""

from __future__ import annotations

import re

from google.protobuf.message import Message

from common.utils.trace import span
from somabrain_service.interceptors.call import Call, CallNext
from somabrain_service.policy import Policy

_NAMESPACE_PATH = re.compile(r"namespaces/([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(/.*)?", re.DOTALL)


class Authorize:
    """The policy step."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def __call__(self, call: Call, request: Message, call_next: CallNext) -> Message | None:
        """Let pass what is allowed."""
        if call.identity is None:
            raise RuntimeError("the policy step stands before the identity step")
        with span("policy"):
            await self._policy.require(call.identity, call.method, namespace_of(request))
        return await call_next(call, request)


def namespace_of(request: Message) -> str:
    """Return the id of the namespace a request is about; "" when it names none that could exist.

    By the contract's convention it stands in `parent`, `name`, or the `name` of the resource to be changed, and in
    `namespace_id` when it is to be created. What is malformed is refused by validation after this.
    """
    fields = request.DESCRIPTOR.fields_by_name
    if "namespace_id" in fields:
        name = f"namespaces/{getattr(request, 'namespace_id')}"  # noqa: B009 - the field is found at run time
    elif "parent" in fields or "name" in fields:
        name = getattr(request, "parent" if "parent" in fields else "name")
    else:
        resource = next((field for field in ("memory", "namespace") if field in fields), None)
        name = getattr(request, resource).name if resource else ""
    match = _NAMESPACE_PATH.fullmatch(name)
    return match[1] if match else ""
