"""Settings in files are loaded again when the files change."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config.rotation import CurrentSettings
from common.config.settings import Settings, load


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that SOMABRAIN_SECRETS_DIR names, with a password in it."""
    (tmp_path / "SOMABRAIN_FLAGS__PASSWORD").write_text("first")
    monkeypatch.setenv("SOMABRAIN_SECRETS_DIR", str(tmp_path))
    return tmp_path


def password(settings: Settings) -> str:
    assert settings.flags.password is not None
    return settings.flags.password.get_secret_value()


def test_a_changed_file_is_read_again(secrets: Path) -> None:
    rotated = CurrentSettings(load())
    assert password(rotated.get()) == "first"
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text("second one")
    assert password(rotated.get()) == "second one"


def test_a_directory_that_is_exchanged_as_a_whole_is_read_again(secrets: Path) -> None:
    """As a kubelet does it: files are links into a directory that a link names, and that link is replaced."""
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").unlink()
    for name in ("first", "second"):
        (secrets / name).mkdir()
        (secrets / name / "SOMABRAIN_FLAGS__PASSWORD").write_text(name)
    (secrets / "..data").symlink_to("first")
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").symlink_to("..data/SOMABRAIN_FLAGS__PASSWORD")
    rotated = CurrentSettings(load())
    assert password(rotated.get()) == "first"
    (secrets / "..new").symlink_to("second")
    (secrets / "..new").replace(secrets / "..data")
    assert password(rotated.get()) == "second"


def test_invalid_files_leave_the_former_settings_in_use_until_they_are_valid(secrets: Path) -> None:
    rotated = CurrentSettings(load())
    (secrets / "SOMABRAIN_FLAGS__TIMEOUT_S").write_text("soon")
    assert password(rotated.get()) == "first"
    (secrets / "SOMABRAIN_FLAGS__TIMEOUT_S").unlink()
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text("second one")
    assert password(rotated.get()) == "second one"


def test_nothing_is_read_again_unless_a_file_changed(secrets: Path) -> None:
    rotated = CurrentSettings(load())
    assert rotated.get() is rotated.get()
