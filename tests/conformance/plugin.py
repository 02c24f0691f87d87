"""pytest plugin for a database that a user names: it leaves out the tests that need a server of their own."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conformance.target import Target
from tests.integration.conftest import TARGET

OWN_SERVER = "own_server"
_OWN_FIXTURES = {"database_server", "unmigrated"}


class ConformancePlugin:
    """Gives the tests the target, and remembers what ran."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.left_out: list[str] = []
        self.outcomes: Counter[str] = Counter()

    def pytest_configure(self, config: pytest.Config) -> None:
        """Hand the target to the fixture `database`."""
        config.stash[TARGET] = self._target

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out the tests that need a server of their own."""
        kept: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        for item in items:
            fixtures = set(getattr(item, "fixturenames", ()))
            # `database` asks for the server only where no target was given.
            own = item.get_closest_marker(OWN_SERVER) or (fixtures & _OWN_FIXTURES)
            (left_out if own else kept).append(item)
        items[:] = kept
        self.left_out = sorted({item.nodeid.partition("[")[0].rpartition("/")[2] for item in left_out})
        config.hook.pytest_deselected(items=left_out)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: by its call, or by the part in which it failed."""
        if report.when == "call" or report.failed:
            self.outcomes[report.outcome] += 1
