"""Counts and times every call, whatever becomes of it."""

from __future__ import annotations

import time
from functools import cache

from google.protobuf.message import Message

from somabrain_service.interceptors.call import Call, Proceed
from somabrain_service.metrics import Metrics


class CountCalls:
    """The metrics step."""

    def __init__(self, metrics: Metrics) -> None:
        # Looked up once: finding a series by its labels takes longer than counting in it.
        self._handled = cache(lambda method, code: metrics.handled.labels(*_labels(method), code))
        self._in_flight = cache(lambda method: metrics.in_flight.labels(*_labels(method)))
        self._seconds = cache(lambda method: metrics.seconds.labels(*_labels(method)))

    async def __call__(self, call: Call, request: Message, proceed: Proceed) -> Message | None:
        """Measure around the call; its status is known once the error step has spoken."""
        in_flight = self._in_flight(call.method)
        in_flight.inc()
        started = time.perf_counter()
        answered = False
        try:
            response = await proceed(call, request)
            answered = True
            return response
        finally:
            in_flight.dec()
            self._seconds(call.method).observe(time.perf_counter() - started)
            self._handled(call.method, call.code(answered).name).inc()


def _labels(method: str) -> tuple[str, str]:
    """Service and method of `/service/method`."""
    _, service, name = method.split("/")
    return service, name
