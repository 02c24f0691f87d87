"""Export of spans to a collector, by OTLP over HTTP."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from requests.auth import AuthBase

from common.config.groups.platform import parse_headers
from common.config.settings import TraceSettings

SERVICE_NAME = "sb"
INSTANCE = f"{socket.gethostname()}-{os.getpid()}"


def tracer_provider(settings: TraceSettings, version: str, current: Callable[[], TraceSettings]) -> TracerProvider:
    """Return a provider whose spans are sent to `settings.endpoint`; the caller shuts it down, which blocks.

    Args:
        settings: the settings; `endpoint` is set.
        version: the service's.
        current: returns the settings as they are now, for headers that were rotated; called in the exporter's thread.
    """
    session = requests.Session()
    session.auth = _CurrentHeaders(current)
    endpoint = (settings.endpoint or "").rstrip("/")
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=settings.timeout_s, session=session)
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
        resource=Resource.create(
            {"service.name": SERVICE_NAME, "service.version": version, "service.instance.id": INSTANCE}
        ),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


class _CurrentHeaders(AuthBase):
    """Sets the headers of the settings as they are at each request: the exporter reads its own only once."""

    def __init__(self, current: Callable[[], TraceSettings]) -> None:
        self._current = current

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request with the headers."""
        request.headers.update(parse_headers(self._current().headers))
        return request
