"""Single flight: concurrent callers of one key share one computation, and its result or error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """At most one computation per key at a time, for one event loop.

    It runs in the task of the first caller, under that task's deadline. When that task is cancelled, the next waiting
    caller computes: no caller fails because another one was cancelled.
    """

    def __init__(self) -> None:
        self._in_flight: dict[K, asyncio.Future[V]] = {}

    async def run(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Return the result of `work`, or raise its error; run it once for all concurrent callers of `key`."""
        while (pending := self._in_flight.get(key)) is not None:
            await asyncio.wait((pending,))
            if not pending.cancelled():
                return pending.result()
        future = self._in_flight[key] = asyncio.get_running_loop().create_future()
        try:
            result = await work()
        except asyncio.CancelledError:
            future.cancel()
            raise
        except BaseException as exc:
            future.set_exception(exc)
            future.exception()  # retrieved: asyncio would log it as never retrieved when no other caller waits
            raise
        else:
            future.set_result(result)
            return result
        finally:
            del self._in_flight[key]
