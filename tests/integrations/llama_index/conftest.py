"""Settings of pytest for LlamaIndex."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """LlamaIndex leaves the connections of its own SQLite store to the garbage collector, which warns."""
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")
