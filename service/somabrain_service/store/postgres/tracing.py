"""A span for each statement of a call that is being traced.

Not OpenTelemetry's own instrumentation of SQLAlchemy: it notes what errors say, and PostgreSQL's name the values
that did not fit.
"""

from __future__ import annotations

from typing import Protocol

from opentelemetry.trace import Span, SpanKind
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from common.utils import trace


class _Executing(Protocol):
    """SQLAlchemy's context of one execution, which carries the span to its end."""

    somabrain_span: Span | None


def trace_statements(engine: AsyncEngine) -> None:
    """Make a span of every statement this engine runs; statements hold no values, those are parameters."""
    event.listen(engine.sync_engine, "before_cursor_execute", _begin)
    event.listen(engine.sync_engine, "after_cursor_execute", _end)
    event.listen(engine.sync_engine, "handle_error", _fail)


def _begin(_conn: object, _cursor: object, statement: str, _values: object, context: _Executing, _many: bool) -> None:
    operation = statement.split(maxsplit=1)[0]
    described = {"db.system.name": "postgresql", "db.operation.name": operation, "db.query.text": statement}
    context.somabrain_span = trace.begin(f"{operation} postgresql", SpanKind.CLIENT, described)


def _end(_conn: object, _cursor: object, _statement: str, _values: object, context: _Executing, _many: bool) -> None:
    if context.somabrain_span is not None:
        context.somabrain_span.end()


def _fail(error: ExceptionContext) -> None:
    span: Span | None = getattr(error.execution_context, "somabrain_span", None)
    if span is not None:
        trace.fail(span, error.original_exception)
        span.end()
