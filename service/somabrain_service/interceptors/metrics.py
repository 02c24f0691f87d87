"""Counts and times every call, whatever becomes of it."""

from __future__ import annotations

import time

from google.protobuf.message import Message

from somabrain_service.interceptors.call import Call, Proceed
from somabrain_service.metrics import Metrics


class CountCalls:
    """The metrics step."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, call: Call, request: Message, proceed: Proceed) -> Message | None:
        """Measure around the call; its status is known once the error step has spoken."""
        _, service, method = call.method.split("/")
        in_flight = self._metrics.in_flight.labels(service, method)
        in_flight.inc()
        started = time.perf_counter()
        answered = False
        try:
            response = await proceed(call, request)
            answered = True
            return response
        finally:
            in_flight.dec()
            self._metrics.seconds.labels(service, method).observe(time.perf_counter() - started)
            self._metrics.handled.labels(service, method, call.code(answered).name).inc()
