"""Counts and times every call, whatever becomes of it."""

from __future__ import annotations

import time
from functools import cache

from google.protobuf.message import Message

from somabrain_service.interceptors.call import Call, CallNext
from somabrain_service.metrics import Metrics


class RecordMetrics:
    """The metrics step."""

    def __init__(self, metrics: Metrics) -> None:
        # Looked up once: finding a series by its labels takes longer than counting in it.
        self._handled = cache(lambda method, code: metrics.calls_handled.labels(*_method_labels(method), code))
        self._in_flight = cache(lambda method: metrics.calls_in_flight.labels(*_method_labels(method)))
        self._duration = cache(lambda method: metrics.call_duration.labels(*_method_labels(method)))

    async def __call__(self, call: Call, request: Message, call_next: CallNext) -> Message | None:
        """Measure around the call; its status is known once the error step has spoken."""
        in_flight = self._in_flight(call.method)
        in_flight.inc()
        started = time.perf_counter()
        completed = False
        try:
            response = await call_next(call, request)
            completed = True
            return response
        finally:
            in_flight.dec()
            self._duration(call.method).observe(time.perf_counter() - started)
            self._handled(call.method, call.status_code(completed).name).inc()


def _method_labels(method: str) -> tuple[str, str]:
    """Service and method of `/service/method`."""
    _, service, name = method.split("/")
    return service, name
