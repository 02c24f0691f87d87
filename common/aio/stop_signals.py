"""The signals that end a process."""

from __future__ import annotations

import asyncio
import os
import signal

import structlog

_log = structlog.stdlib.get_logger(__name__)


def stop_on_signals(stop_requested: asyncio.Event) -> None:
    """Set the event at the first SIGTERM or SIGINT, so that the process drains; exit at once at the second."""

    def on_signal(number: signal.Signals) -> None:
        if stop_requested.is_set():
            _log.warning("second signal, exiting at once", signal=number.name)
            os._exit(128 + number)
        _log.info("shutdown requested", signal=number.name)
        stop_requested.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
