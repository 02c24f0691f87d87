"""Values that were right for the previous version stay right: each of its files is taken by the present chart."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from somabrain_local import previous_release as installed
from somabrain_local.environment import local_paths
from somabrain_local.previous_release import PreviousRelease
from somabrain_local.progress import Progress
from tests.chart.conftest import CHARTS, Helm, HelmRefused


@pytest.fixture(scope="session")
def previous() -> PreviousRelease:
    """The tree of the commit in tests/PREVIOUS; it is an error if that is the present one."""
    paths = local_paths()
    return installed.ensure(paths, Progress(paths.cache / "durations.json"))


def files(chart: Path) -> list[Path]:
    """Values of a chart: its own, and those that its tests and lint give it."""
    return [chart / "values.yaml", *sorted((chart / "ci").glob("*.yaml"))]


def test_every_values_file_of_the_previous_version_is_taken(previous: PreviousRelease, helm: Helm) -> None:
    """The present schema allows it and the present templates render it, for each chart that there was."""
    former = sorted(path.parent for path in (previous.checkout / "helm" / "charts").glob("*/Chart.yaml"))
    assert {chart.name for chart in former} <= {chart.name for chart in CHARTS}
    taken = {
        (chart.name, values.name): helm("template", "kept", f"helm/charts/{chart.name}", "--values", str(values))
        for chart in former
        for values in files(chart)
    }
    assert {name for name, _ in taken} >= {"soma-infra", "somabrain-operator"}
    assert all(taken.values())


def test_a_value_that_is_no_longer_taken_is_noticed(previous: PreviousRelease, helm: Helm, tmp_path: Path) -> None:
    """The check above can fail: one more value than there is a place for is refused by name."""
    values = yaml.safe_load((previous.checkout / "helm/charts/somabrain-operator/values.yaml").read_text())
    changed = tmp_path / "values.yaml"
    changed.write_text(yaml.safe_dump(values | {"gone": 1}))
    with pytest.raises(HelmRefused, match="gone"):
        helm("template", "kept", "helm/charts/somabrain-operator", "--values", str(changed))
