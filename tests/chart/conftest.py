"""Charts are rendered by the real helm, as `make chart` puts it in PATH."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHARTS = sorted(path.parent for path in (ROOT / "helm" / "charts").glob("*/Chart.yaml"))
Manifest = dict[str, Any]
Helm = Callable[..., str]
Render = Callable[..., list[Manifest]]


class HelmRefused(Exception):
    """Helm refused the chart or its values; the message is what it printed."""


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Run helm with arguments and return what it printed."""
    program = shutil.which("helm")
    assert program, "helm is not in PATH; run `make chart`, which puts it there"

    def run(*words: str) -> str:
        done = subprocess.run([program, *words], capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode:
            raise HelmRefused(done.stderr)
        return done.stdout

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """Render a chart with `name=value` settings and return its manifests."""

    def manifests(chart: str, *settings: str, namespace: str = "soma-infra") -> list[Manifest]:
        flags = [word for setting in settings for word in ("--set", setting)]
        text = helm("template", "release", f"helm/charts/{chart}", "--namespace", namespace, *flags)
        return [manifest for manifest in yaml.safe_load_all(text) if manifest]

    return manifests
