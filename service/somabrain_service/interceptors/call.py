"""The call as it passes through the steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import grpc.aio
from google.protobuf.message import Message

from common.utils.auth_client import Identity

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


Proceed = Callable[[Call, Message], Awaitable[Message | None]]


class Step(Protocol):
    """One interceptor: does its part before, after or around `proceed`."""

    async def __call__(self, call: Call, request: Message, proceed: Proceed) -> Message | None:
        """Handle the call, or refuse it by raising an error of the tree."""
        ...
