"""The previous version, installed as its own users have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from somabrain_local import previous as installed
from somabrain_local.environment import places
from somabrain_local.previous import Previous
from somabrain_local.progress import Progress


@pytest.fixture(scope="session")
def previous() -> Previous:
    here = places()
    return installed.ensure(here, Progress(here.cache / "durations.json"))


@pytest.fixture(scope="session")
def folder(own_folder: Path) -> Path:
    made = own_folder / "upgrade"
    made.mkdir()
    return made
