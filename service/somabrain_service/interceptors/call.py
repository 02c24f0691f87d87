"""The call as it passes through the steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import Message

from common.utils.auth_client import Identity

_CODES_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}

Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"


@dataclass(frozen=True, slots=True)
class Call:
    """One call; a step that learns something passes on a copy that knows it."""

    method: str
    """`/package.Service/Method`."""
    streaming: bool
    """Whether the answer is a stream: it is then written by the handler, and steps see None."""
    metadata: Mapping[str, str]
    """The caller's, keys in lower case; of a key sent twice the values are joined by a comma (RFC 9110, 5.3)."""
    context: Context
    request_id: str = ""
    identity: Identity | None = None

    def status_code(self, completed: bool) -> grpc.StatusCode:
        """Return the status the call ended with; one that ends without any was left by its caller."""
        code = self.context.code()
        if isinstance(code, grpc.StatusCode):
            return code
        if code:
            return _CODES_BY_NUMBER.get(code, grpc.StatusCode.UNKNOWN)
        return grpc.StatusCode.OK if completed else grpc.StatusCode.CANCELLED


CallNext = Callable[[Call, Message], Awaitable[Message | None]]


class Interceptor(Protocol):
    """One interceptor: does its part before, after or around `proceed`."""

    async def __call__(self, call: Call, request: Message, call_next: CallNext) -> Message | None:
        """Handle the call, or refuse it by raising an error of the tree."""
        ...
