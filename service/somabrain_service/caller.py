"""Who the call being handled is from: set once by the identity interceptor, read by servicers."""

from __future__ import annotations

from contextvars import ContextVar

from common.utils.auth_client import Identity

caller: ContextVar[Identity] = ContextVar("caller")
