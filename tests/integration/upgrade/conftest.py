"""The previous version, installed as its users install it."""

from __future__ import annotations

from pathlib import Path

import pytest

from somabrain_local import previous_release as installed
from somabrain_local.environment import local_paths
from somabrain_local.previous_release import PreviousRelease
from somabrain_local.progress import Progress


@pytest.fixture(scope="session")
def previous() -> PreviousRelease:
    paths = local_paths()
    return installed.ensure(paths, Progress(paths.cache / "durations.json"))


@pytest.fixture(scope="session")
def folder(own_folder: Path) -> Path:
    created = own_folder / "upgrade"
    created.mkdir()
    return created
