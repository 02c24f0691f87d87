"""docs/mcp.md has the tables of the suites' scenarios as they are, and no scenario is in both."""

from __future__ import annotations

from pathlib import Path

from tests.mcp_conformance.scenarios import GREEN, OTHERS, reason_against, table

PAGE = Path(__file__).parents[3] / "docs" / "mcp.md"


def test_the_page_has_the_tables() -> None:
    assert "\n".join(table()) in PAGE.read_text()


def test_a_scenario_applies_or_does_not() -> None:
    for scenario in GREEN:
        assert reason_against(scenario) is None
    for reason, names in OTHERS.items():
        for name in names:
            if not name.endswith("*"):
                assert reason_against(name) == reason
    assert reason_against("no-such-scenario") is None
