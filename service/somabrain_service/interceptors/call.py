"""The call context passed between interceptors, and the interceptor protocol."""

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
    """One call; an interceptor that adds something passes on a copy."""

    method: str
    """Full method name, `/package.Service/Method`."""
    streaming: bool
    """True if the response is a stream: the handler then writes the messages, and interceptors receive None."""
    metadata: Mapping[str, str]
    """Invocation metadata, keys in lower case; values of a repeated key are joined by a comma (RFC 9110, 5.3)."""
    context: Context
    request_id: str = ""
    identity: Identity | None = None

    def status_code(self, completed: bool) -> grpc.StatusCode:
        """Return the status the call ended with; CANCELLED if it neither completed nor has a status."""
        code = self.context.code()
        if isinstance(code, grpc.StatusCode):
            return code
        if code:
            return _CODES_BY_NUMBER.get(code, grpc.StatusCode.UNKNOWN)
        return grpc.StatusCode.OK if completed else grpc.StatusCode.CANCELLED


CallNext = Callable[[Call, Message], Awaitable[Message | None]]


class Interceptor(Protocol):
    """One interceptor: runs before, after or around `call_next`."""

    async def __call__(self, call: Call, request: Message, call_next: CallNext) -> Message | None:
        """Handle the call, or reject it by raising a `SomaBrainError`."""
        ...
