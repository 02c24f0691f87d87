"""The request that is being handled: who sent it, with which token, and in which trace."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from common.auth.identity import Identity

SCOPE_KEY: Final = "somabrain.call"
"""Key of the `McpCall` in the scope of an HTTP request."""


@dataclass(slots=True)
class McpCall:
    """A request. `token` None: it carries none; `identity` None: over stdio, where the service alone authenticates."""

    token: str | None = None
    identity: Identity | None = None
    traceparent: str = ""
    rejected: bool = False
    """True once the service refused the token: the caller must get another one."""


current_call: ContextVar[McpCall] = ContextVar("current_call")
"""The request of the running tool; read by the client's token source."""
