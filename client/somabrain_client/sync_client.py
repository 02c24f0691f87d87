"""The client for programs without an event loop: each call blocks until it has returned.

It runs the asynchronous client on an event loop in its own thread, so there is one implementation; any number of
threads may call concurrently. Its methods wrap those of `MemoryClient`, with the same signatures.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from enum import Enum
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from somabrain_client.base_client import DEFAULT_DEADLINE_S
from somabrain_client.credentials import TokenSource
from somabrain_client.fork_guard import ForkGuard
from somabrain_client.memory_client import MemoryClient
from somabrain_client.retry import Attempts, RetryPolicy
from somabrain_client.tls import Tls


class _End(Enum):
    """Sentinel for the end of an iteration."""

    END = "end"


P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[MemoryClient, P], Coroutine[object, object, T]],
) -> Callable[Concatenate[SyncMemoryClient, P], T]:
    """Return a blocking version of `method`."""

    @functools.wraps(method)
    def call(self: SyncMemoryClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(method(self._client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[MemoryClient, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[SyncMemoryClient, P], Generator[T, None, None]]:
    """Return a blocking version of the generator `method`; closing it early ends the call on the server."""

    @functools.wraps(method)
    def iterate(self: SyncMemoryClient, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        generator = method(self._client, *args, **kwargs)

        async def next_item() -> T | _End:
            return await anext(generator, _End.END)

        async def close_generator() -> None:
            await generator.aclose()

        try:
            while (item := self._run(next_item())) is not _End.END:
                yield item
        finally:
            if not (self._fork_guard.is_forked or self._loop.is_closed()):
                self._run(close_generator())

    return iterate


class SyncMemoryClient:
    """A connection to the memory service for blocking code. Use it in `with`.

    Every method raises a `CallError` of `somabrain_client.errors`; methods that return several values
    yield them as they arrive.
    """

    def __init__(
        self,
        address: str,
        *,
        token: TokenSource | None = None,
        deadline_s: float = DEFAULT_DEADLINE_S,
        retry: RetryPolicy | None = None,
        tls: Tls | None = None,
        use_http_proxy: bool = False,
    ) -> None:
        """Start the event loop; the channel connects on first use. The arguments are those of `MemoryClient`.

        `traceparent` is not one of them: calls run in a thread that has no context of the caller.
        """
        self._fork_guard = ForkGuard()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="somabrain-client", daemon=True)
        self._thread.start()

        async def connect() -> MemoryClient:
            return MemoryClient(
                address, token=token, deadline_s=deadline_s, retry=retry, tls=tls, use_http_proxy=use_http_proxy
            )

        self._client = self._run(connect())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and end its thread; further calls do nothing, nor does one in a forked process."""
        if self._fork_guard.is_forked or self._loop.is_closed():
            return
        self._run(self._client.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def attempts(self) -> Attempts:
        """Counters of calls, attempts and unavailable servers so far."""
        return self._client.attempts

    def run(self, calls: Callable[[MemoryClient], Coroutine[object, object, T]]) -> T:
        """Run a coroutine of several calls on the client's event loop, wait for it and return its result.

        An interruption while waiting cancels it. It must not be called from a coroutine that runs on that loop.
        """
        return self._run(calls(self._client))

    async def run_async(self, calls: Callable[[MemoryClient], Coroutine[object, object, T]]) -> T:
        """Await a coroutine of several calls from any event loop: it runs on the client's, and is cancelled there."""
        return await asyncio.wrap_future(self._submit(calls(self._client)))

    def _run(self, call: Coroutine[object, object, T]) -> T:
        """Wait for the call and return its result; an interruption while waiting cancels it on the server, too."""
        future = self._submit(call)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _submit(self, call: Coroutine[object, object, T]) -> concurrent.futures.Future[T]:
        if self._fork_guard.is_forked or self._loop.is_closed():
            call.close()
            self._fork_guard.check()
            raise RuntimeError("the client is closed")
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    create_namespace = _blocking(MemoryClient.create_namespace)
    get_namespace = _blocking(MemoryClient.get_namespace)
    list_namespaces = _iterating(MemoryClient.list_namespaces)
    update_namespace = _blocking(MemoryClient.update_namespace)
    delete_namespace = _blocking(MemoryClient.delete_namespace)
    erase_subject = _blocking(MemoryClient.erase_subject)
    remember = _blocking(MemoryClient.remember)
    batch_remember = _blocking(MemoryClient.batch_remember)
    recall = _blocking(MemoryClient.recall)
    upsert = _blocking(MemoryClient.upsert)
    get = _blocking(MemoryClient.get)
    update = _blocking(MemoryClient.update)
    touch = _blocking(MemoryClient.touch)
    list_sessions = _iterating(MemoryClient.list_sessions)
    list_subjects = _iterating(MemoryClient.list_subjects)
    revisions = _iterating(MemoryClient.revisions)
    forget = _blocking(MemoryClient.forget)
    forget_where = _blocking(MemoryClient.forget_where)
    batch_forget = _blocking(MemoryClient.batch_forget)
    watch = _iterating(MemoryClient.watch)
    export = _iterating(MemoryClient.export)
    list_page = _blocking(MemoryClient.list_page)
    session_page = _blocking(MemoryClient.session_page)
    list = _iterating(MemoryClient.list)
