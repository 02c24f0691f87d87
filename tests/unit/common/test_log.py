"""The log has one event per line, as JSON for machines or as text for people."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from common.config.settings import LogSettings
from common.log import configure_logging


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_format_logs_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="json"))
    structlog.get_logger("a").info("it\nhappened", number=1)
    logging.getLogger("b").warning("so did %s", "this")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["number"], first["level"]) == ("it\nhappened", 1, "info")
    assert (second["event"], second["logger"]) == ("so did this", "b")


def test_console_format_has_no_colours_when_redirected(capsys: pytest.CaptureFixture[str]) -> None:
    """Output that is not a terminal contains no escape sequences."""
    configure_logging(LogSettings(format="console"))
    structlog.get_logger("a").warning("it happened", number=1)
    output = capsys.readouterr().err
    assert "it happened" in output
    assert "number=1" in output
    assert "\x1b" not in output


def test_every_module_defines_its_logger_uniformly() -> None:
    """A module that logs has `_log = structlog.stdlib.get_logger(__name__)`, so the field `logger` names the module."""
    root = Path(__file__).parents[3]
    idiom = re.compile(r"^_log = structlog\.stdlib\.get_logger\(__name__\)$", re.MULTILINE)
    other = [
        path.relative_to(root).as_posix()
        for folder in ("common", "operator", "service", "client")
        for path in (root / folder).rglob("*.py")
        if "get_logger(" in (text := path.read_text())
        and (len(idiom.findall(text)), text.count("get_logger(")) != (1, 1)
    ]
    assert not other
