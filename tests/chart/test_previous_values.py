"""Values that were valid for the previous version stay valid for the present charts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from devcluster import previous_release as installed
from devcluster.environment import local_paths
from devcluster.previous_release import PreviousRelease
from devcluster.progress import Progress
from tests.chart.conftest import CHARTS, Helm, HelmRefused


@pytest.fixture(scope="session")
def previous() -> PreviousRelease:
    """The tree of the commit in tests/PREVIOUS, which must not be the current one."""
    paths = local_paths()
    return installed.ensure(paths, Progress(paths.cache / "durations.json"))


def files(chart: Path) -> list[Path]:
    """The values files of a chart: its own, and those of its tests and of lint."""
    return [chart / "values.yaml", *sorted((chart / "ci").glob("*.yaml"))]


def test_previous_values_files_are_accepted(previous: PreviousRelease, helm: Helm) -> None:
    """Each values file of the previous version passes the present schema and renders."""
    former = sorted(path.parent for path in (previous.checkout / "helm" / "charts").glob("*/Chart.yaml"))
    assert {chart.name for chart in former} <= {chart.name for chart in CHARTS}
    rendered = {
        (chart.name, values.name): helm("template", "kept", f"helm/charts/{chart.name}", "--values", str(values))
        for chart in former
        for values in files(chart)
    }
    assert {name for name, _ in rendered} >= {"soma-infra", "somabrain-operator"}
    assert all(rendered.values())


def test_unknown_value_in_previous_file_is_rejected(previous: PreviousRelease, helm: Helm, tmp_path: Path) -> None:
    """The check above can fail: an unknown value is rejected by name."""
    values = yaml.safe_load((previous.checkout / "helm/charts/somabrain-operator/values.yaml").read_text())
    changed = tmp_path / "values.yaml"
    changed.write_text(yaml.safe_dump(values | {"gone": 1}))
    with pytest.raises(HelmRefused, match="gone"):
        helm("template", "kept", "helm/charts/somabrain-operator", "--values", str(changed))
