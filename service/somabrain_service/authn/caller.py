"""Identity of the current call's caller: set once by the authentication interceptor, read by servicers."""

from __future__ import annotations

from contextvars import ContextVar

from common.utils.auth_client import Identity

caller: ContextVar[Identity] = ContextVar("caller")
