"""The previous version, installed as its users install it."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster import previous_release as installed
from devcluster.environment import local_paths
from devcluster.previous_release import PreviousRelease
from devcluster.progress import Progress


@pytest.fixture(scope="session")
def previous() -> PreviousRelease:
    paths = local_paths()
    return installed.ensure(paths, Progress(paths.cache / "durations.json"))


@pytest.fixture(scope="session")
def folder(own_folder: Path) -> Path:
    created = own_folder / "upgrade"
    created.mkdir()
    return created
