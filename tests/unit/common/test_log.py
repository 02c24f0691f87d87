"""The log has one event per line, as JSON for machines or as text for people."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from common.config.settings import LogSettings
from common.log import configure_logging


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_machines_get_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="json"))
    structlog.get_logger("a").info("it\nhappened", number=1)
    logging.getLogger("b").warning("so did %s", "this")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["number"], first["level"]) == ("it\nhappened", 1, "info")
    assert (second["event"], second["logger"]) == ("so did this", "b")


def test_a_file_gets_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    """Output that is not a terminal contains no escape sequences."""
    configure_logging(LogSettings(format="console"))
    structlog.get_logger("a").warning("it happened", number=1)
    output = capsys.readouterr().err
    assert "it happened" in output
    assert "number=1" in output
    assert "\x1b" not in output
