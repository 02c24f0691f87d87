"""docs/mcp.md contains the current tables of conformance scenarios, and no scenario is in both."""

from __future__ import annotations

from pathlib import Path

from tests.mcp_conformance.scenarios import GREEN, OTHERS, reason_against, table

PAGE = Path(__file__).parents[3] / "docs" / "mcp.md"


def test_page_contains_scenario_tables() -> None:
    assert "\n".join(table()) in PAGE.read_text()


def test_scenario_is_either_applicable_or_excluded() -> None:
    for scenario in GREEN:
        assert reason_against(scenario) is None
    for reason, names in OTHERS.items():
        for name in names:
            if not name.endswith("*"):
                assert reason_against(name) == reason
    assert reason_against("no-such-scenario") is None
