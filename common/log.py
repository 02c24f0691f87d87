"""Structured logs: one event per line, a fixed phrase with data as keys.

JSON in pods, readable text on a console. Never a secret, never a memory's text: only names, counts, durations and
reasons are logged.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable

import structlog

from common.config.former_names import ACCEPTED_UNTIL
from common.config.settings import LogSettings

_log = structlog.stdlib.get_logger(__name__)


def configure_logging(log: LogSettings) -> None:
    """Send structlog's and the standard library's records to stderr in one format. Called once, by entry points."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if log.format == "json" else structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log.level.upper())


def warn_of_former_names(names: Iterable[tuple[str, str]]) -> None:
    """Log a warning for each setting that is given under a former name, with the present one."""
    for former, present in names:
        _log.warning("setting given by its former name", former=former, present=present, accepted_until=ACCEPTED_UNTIL)
