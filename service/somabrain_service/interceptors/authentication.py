"""Authenticate the caller by `authorization: Bearer <token>` (RFC 6750)."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace

from google.protobuf.message import Message

from common.auth.bearer import bearer_token
from common.errors import Unauthenticated, Unavailable
from common.utils.auth_client import Authenticator
from common.utils.trace import span
from somabrain_service.authn.caller import caller
from somabrain_service.interceptors.call import Call, CallNext
from somabrain_service.metrics import Metrics


class Authenticate:
    """Interceptor that sets the caller's identity from its bearer token."""

    def __init__(self, authenticator: Authenticator, metrics: Metrics) -> None:
        self._authenticator = authenticator
        self._metrics = metrics

    async def __call__(self, call: Call, request: Message, call_next: CallNext) -> Message | None:
        """Reject calls without a valid bearer token; pass on the others with their identity."""
        try:
            with span("identity"):
                identity = await self._authenticator.identify(bearer_token(call.metadata.get("authorization")))
        except Unauthenticated as exc:
            self._metrics.auth_failures.labels(exc.cause).inc()
            raise
        except Unavailable:
            self._metrics.auth_failures.labels("unreachable").inc()
            raise
        caller.set(identity)
        authenticated = replace(call, identity=identity)
        if not call.streaming or math.isinf(identity.expires_at):
            return await call_next(authenticated, request)
        # A stream may last after the check of its token, but never past the token's expiry.
        try:
            async with asyncio.timeout(identity.expires_at - time.time()) as scope:
                return await call_next(authenticated, request)
        except TimeoutError as exc:
            if not scope.expired():
                raise
            raise Unauthenticated("expired") from exc
