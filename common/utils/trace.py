"""Traces: OpenTelemetry spans with the service name `sb`, sent by OTLP over HTTP.

Spans carry names, codes, counts and statements without their values; never a secret, a memory's text or the
message of another server's error. The trace context of callers (W3C traceparent) is continued, including their
sampling decision. Without an endpoint nothing is recorded, and a span costs next to nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

from opentelemetry import propagate, trace
from opentelemetry.trace import ProxyTracerProvider, Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from common.config.settings import TraceSettings

_tracer = trace.get_tracer("somabrain")


@asynccontextmanager
async def tracing(
    settings: TraceSettings, version: str, current: Callable[[], TraceSettings] | None = None
) -> AsyncIterator[None]:
    """Send spans to the collector until the block ends, and flush the rest at its end.

    An unavailable collector costs spans, never calls: past a bounded queue spans are dropped.

    Args:
        settings: the settings.
        version: the service's.
        current: returns the settings as they are now, for headers that were rotated; None: they never are. Called in
            the exporter's thread.
    """
    if settings.endpoint is None:
        yield
        return
    # Here, because importing exporter and SDK takes a tenth of a second.
    from common.utils.trace_export import tracer_provider

    provider = tracer_provider(settings, version, current or (lambda: settings))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        await asyncio.to_thread(provider.shutdown)


@contextmanager
def server_span(name: str, carrier: Mapping[str, str], attributes: Mapping[str, AttributeValue]) -> Iterator[Span]:
    """Start the span of an incoming call, in the trace that `carrier` names; a no-op span when tracing is off."""
    if "traceparent" not in carrier and isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
        yield trace.INVALID_SPAN
        return
    with _tracer.start_as_current_span(
        name,
        propagate.extract(carrier),
        SpanKind.SERVER,
        attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


@contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: AttributeValue) -> Iterator[Span]:
    """Start a child of the current span; a no-op span when the current one is not recording.

    An error is recorded by its type alone, because its message may contain a memory's text.
    """
    if not trace.get_current_span().is_recording():
        yield trace.INVALID_SPAN
        return
    with _tracer.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as child:
        try:
            yield child
        except BaseException as exc:
            record_error(child, exc)
            raise


def start_span(name: str, kind: SpanKind, attributes: Mapping[str, AttributeValue]) -> Span | None:
    """Return a started span, which the caller must end; None when the current span is not recording."""
    if not trace.get_current_span().is_recording():
        return None
    return _tracer.start_span(name, kind=kind, attributes=attributes)


def traceparent() -> str:
    """Return the W3C traceparent of the current span, to continue the trace elsewhere; empty when not recording."""
    carrier: dict[str, str] = {}
    if trace.get_current_span().is_recording():
        propagate.inject(carrier)
    return carrier.get("traceparent", "")


def record_error(span: Span, exc: BaseException) -> None:
    """Set the span's status to ERROR, with the error's type."""
    span.set_attribute("error.type", f"{type(exc).__module__}.{type(exc).__qualname__}")
    span.set_status(Status(StatusCode.ERROR))
