"""Settings of pytest for LlamaIndex, which leaves the connections of its own SQLite store to the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """A connection that is collected warns."""
    config.addinivalue_line("filterwarnings", "ignore:.*aiosqlite.*deleted before being closed:ResourceWarning")
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect the connections of a test with it, while these settings hold."""
    yield
    gc.collect()
