"""Record count and duration of every call, also of failed ones."""

from __future__ import annotations

import time
from functools import cache

from google.protobuf.message import Message

from somabrain_service.interceptors.call import Call, CallNext
from somabrain_service.metrics import Metrics


class RecordMetrics:
    """Interceptor that records call metrics."""

    def __init__(self, metrics: Metrics) -> None:
        # Cached: looking up a series by its labels takes longer than incrementing it.
        self._handled = cache(lambda method, code: metrics.calls_handled.labels(*_method_labels(method), code))
        self._in_flight = cache(lambda method: metrics.calls_in_flight.labels(*_method_labels(method)))
        self._duration = cache(lambda method: metrics.call_duration.labels(*_method_labels(method)))

    async def __call__(self, call: Call, request: Message, call_next: CallNext) -> Message | None:
        """Measure the call; its status is known once the errors interceptor has set it."""
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
    """Return service and method of `/service/method`."""
    _, service, name = method.split("/")
    return service, name
