"""One piece of work a key at a time: who asks for what is under way waits for it, and gets its answer or its error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """For one event loop. The work runs in the task of the first who asks, under that task's deadline.

    When that one is cancelled, the next of those who wait does the work: nobody fails for another's impatience.
    """

    def __init__(self) -> None:
        self._in_flight: dict[K, asyncio.Future[V]] = {}

    async def run(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Return what `work` returns, or raise what it raises, doing it once for all who wait."""
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
            future.exception()  # seen: that nobody else waited is no error
            raise
        else:
            future.set_result(result)
            return result
        finally:
            del self._in_flight[key]
