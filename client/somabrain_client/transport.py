"""One channel and the calls through it: bearer token, deadline, and retries that repeat the identical request."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import grpc
import grpc.aio

from somabrain_client.credentials import ClientCredentials, TokenSource, read_token
from somabrain_client.errors import details_from_rpc, from_rpc
from somabrain_client.fork_guard import ForkGuard
from somabrain_client.retry import Attempts, RetryPolicy
from somabrain_client.tls import Tls

Request = TypeVar("Request")
Response = TypeVar("Response")

# Calls are spread over all pods of a headless Service, and a deleted pod is dropped within a second.
CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A replica that hangs, or whose node died, is noticed in time for the call to be repeated elsewhere within the
    # default deadline. Pings are also sent without calls, so that a dead connection is found before the next call. The
    # server refuses pings more often than every ten seconds. Both time-outs are set, because gRPC waits for the longer
    # one, which is a minute by default.
    ("grpc.keepalive_time_ms", 11_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 0),
)


# A server that stops answers CANCELLED to calls that arrive in that moment (grpc.aio; 51 of 11,000 when measured).
# A cancellation by this process raises asyncio.CancelledError and never reaches this check.
RETRYABLE_CODES = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})


def target(address: str) -> str:
    """Return the gRPC target of `host:port`, which DNS resolves to all addresses; return a full target unchanged."""
    is_full_target = "://" in address or address.startswith(("unix:", "ipv4:", "ipv6:"))
    return address if is_full_target else f"dns:///{address}"


class Transport:
    """A channel with retries, deadline and bearer token."""

    def __init__(
        self,
        address: str,
        token: TokenSource | None,
        deadline_s: float,
        retry: RetryPolicy,
        tls: Tls | None,
        *,
        use_http_proxy: bool = False,
        traceparent: Callable[[], str] | None = None,
    ) -> None:
        self._fork_guard = ForkGuard()
        # gRPC would send calls to loopback and to Services of the cluster through a proxy of the environment, too.
        options = (*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", int(use_http_proxy)))
        if tls is None:
            self.channel = grpc.aio.insecure_channel(target(address), options=options)
        else:
            self.channel = grpc.aio.secure_channel(target(address), tls.credentials(), options=options)
        self.attempts = Attempts()
        self._token = token
        self._deadline_s = deadline_s
        self._retry = retry
        self._traceparent = traceparent

    async def close(self) -> None:
        """Close the channel; in a forked process do nothing, because the channel is its parent's."""
        if not self._fork_guard.is_forked:
            await self.channel.close()

    async def call(self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request) -> Response:
        """Call a method; retry until the deadline while the server is unavailable.

        Raises:
            CallError: the call failed, and a retry is not possible or not allowed.
            RuntimeError: the process was forked after the client was created.
        """
        self._fork_guard.check()
        self.attempts.calls += 1
        deadline = time.monotonic() + self._deadline_s
        attempt, token_refreshed = 1, False
        while True:
            self.attempts.attempts += 1
            metadata = await self._metadata()
            try:
                return await method(request, timeout=max(deadline - time.monotonic(), 0.001), metadata=metadata)
            except grpc.aio.AioRpcError as exc:
                if exc.code() is grpc.StatusCode.UNAUTHENTICATED and not token_refreshed:
                    token_refreshed = True
                    if await self._refresh_token(metadata):
                        continue
                if exc.code() not in RETRYABLE_CODES:
                    raise from_rpc(exc) from exc
                self.attempts.unavailable += 1
                delay_s = self._retry.backoff_s(attempt, random.random(), details_from_rpc(exc).retry_after_s)  # noqa: S311
                if attempt >= self._retry.max_attempts or time.monotonic() + delay_s >= deadline:
                    raise from_rpc(exc) from exc
            await asyncio.sleep(delay_s)
            attempt += 1

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        resume: Callable[[Response], None],
    ) -> AsyncGenerator[Response, None]:
        """Yield the responses of a stream; restart it after the last response when it breaks off.

        A stream is restarted when the server is unavailable or the token expired: the next attempt carries the token
        as it is then. Each response resets the count of attempts.

        Args:
            method: method of the stub.
            request: the request; the same object for each attempt.
            resume: changes `request`, so that the next attempt continues after the given response.

        Raises:
            CallError: the stream failed, and a retry is not possible or not allowed.
            RuntimeError: the process was forked after the client was created.
        """
        self._fork_guard.check()
        self.attempts.calls += 1
        attempt = 1
        while True:
            self.attempts.attempts += 1
            has_responses = False
            metadata = await self._metadata()
            call = method(request, metadata=metadata)
            try:
                async for response in call:
                    has_responses, attempt = True, 1
                    resume(response)
                    yield response
                    self._fork_guard.check()
            except grpc.aio.AioRpcError as exc:
                unauthenticated = exc.code() is grpc.StatusCode.UNAUTHENTICATED
                token_expired = unauthenticated and (await self._refresh_token(metadata) or has_responses)
                if exc.code() not in RETRYABLE_CODES and not token_expired:
                    raise from_rpc(exc) from exc
                self.attempts.unavailable += not token_expired
                if attempt >= self._retry.max_attempts:
                    raise from_rpc(exc) from exc
                delay_s = self._retry.backoff_s(attempt, random.random(), details_from_rpc(exc).retry_after_s)  # noqa: S311
            else:
                return
            finally:
                # Ends the call on the server, too, when the caller stops iterating.
                if not self._fork_guard.is_forked:
                    call.cancel()
            await asyncio.sleep(delay_s)
            attempt += 1

    async def _refresh_token(self, metadata: tuple[tuple[str, str], ...]) -> bool:
        """Discard the rejected token; return True if the token source now gives another one."""
        if isinstance(self._token, ClientCredentials):
            self._token.discard(metadata[0][1].removeprefix("Bearer "))
        return await self._metadata() != metadata

    async def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of an attempt: the token first, if there is one."""
        trace = self._traceparent() if self._traceparent else ""
        rest = (("traceparent", trace),) if trace else ()
        if self._token is None:
            return rest
        return (("authorization", f"Bearer {await read_token(self._token)}"), *rest)
