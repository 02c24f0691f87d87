"""Settings in files are loaded again when the files change."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
import structlog

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


def test_an_invalid_group_does_not_keep_the_others_from_being_followed(secrets: Path) -> None:
    """A mistake in one secret leaves that one as it was, and its log line names it; another one is followed at once."""
    (secrets / "SOMABRAIN_TRACE__HEADERS").write_text("a=b")
    rotated = CurrentSettings(load())
    (secrets / "SOMABRAIN_TRACE__HEADERS").write_text("sesame")
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text("second one")
    with structlog.testing.capture_logs() as records:
        settings = rotated.get()
    assert password(settings) == "second one"
    assert settings.trace.headers is not None
    assert settings.trace.headers.get_secret_value() == "a=b"
    (rejected,) = (each for each in records if each["log_level"] == "warning")
    assert "SOMABRAIN_TRACE" in rejected["reason"]
    assert "sesame" not in str(records)
    (secrets / "SOMABRAIN_TRACE__HEADERS").write_text("c=d")
    assert rotated.get().trace.headers.get_secret_value() == "c=d"  # type: ignore[union-attr]


def test_settings_that_are_adapted_stay_so(secrets: Path) -> None:
    """Whatever is loaded again is adapted as the settings of the start were, whether or not a group is invalid."""
    rotated = CurrentSettings(load(), adapt=lambda loaded: loaded.model_copy(update={"owner_dsn": None}))
    for change in ("second one", "third one"):
        (secrets / "SOMABRAIN_OWNER_DSN").write_text(change)
        (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text(change)
        settings = rotated.get()
        assert (password(settings), settings.owner_dsn) == (change, None)
        (secrets / "SOMABRAIN_TRACE__HEADERS").write_text("invalid")


def test_a_file_that_changed_before_anyone_watched_is_read_again(secrets: Path) -> None:
    """A secret that is rotated between the start of the process and that of its clients, as by a migration, is used."""
    initial = load()
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text("second one")
    assert password(CurrentSettings(initial).get()) == "second one"


def test_nothing_is_read_again_unless_a_file_changed(secrets: Path) -> None:
    rotated = CurrentSettings(load())
    assert rotated.get() is rotated.get()


def test_a_file_that_keeps_its_size_and_its_time_is_read_again(secrets: Path) -> None:
    """As a copy that preserves times leaves it: only the time of the last change of its status is another."""
    file = secrets / "SOMABRAIN_FLAGS__PASSWORD"
    rotated = CurrentSettings(load())
    before = file.stat()
    file.write_text("other")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert password(rotated.get()) == "other"


def test_a_file_that_follows_a_broken_link_is_watched(secrets: Path) -> None:
    (secrets / "A").symlink_to("nowhere")
    rotated = CurrentSettings(load())
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text("second one")
    assert password(rotated.get()) == "second one"


def test_a_file_that_cannot_be_read_leaves_the_former_settings_in_use_until_it_can(secrets: Path) -> None:
    """Whatever is tried meanwhile is logged once; no other change of the files is needed afterwards."""
    readable = False

    def load_if_readable() -> Settings:
        # Modes do not stop root, which tests may run as, so the system's error is raised here.
        if not readable:
            raise PermissionError(errno.EACCES, "Permission denied", str(secrets / "SOMABRAIN_FLAGS__PASSWORD"))
        return load()

    rotated = CurrentSettings(load(), load_if_readable)
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text("second one")
    with structlog.testing.capture_logs() as records:
        assert [password(rotated.get()) for _ in range(3)] == ["first"] * 3
    assert len(records) == 1
    assert records[0]["reason"].endswith("SOMABRAIN_FLAGS__PASSWORD: Permission denied")
    readable = True
    assert password(rotated.get()) == "second one"


def test_of_two_threads_that_load_at_once_the_newer_settings_win(secrets: Path) -> None:
    file = secrets / "SOMABRAIN_FLAGS__PASSWORD"
    loaded, go = threading.Event(), threading.Event()

    def load_slowly() -> Settings:
        settings = load()
        if not loaded.is_set():
            loaded.set()
            go.wait(20)
        return settings

    rotated = CurrentSettings(load(), load_slowly)
    slow, quick = (threading.Thread(target=rotated.get) for _ in range(2))
    file.write_text("second one")
    slow.start()
    assert loaded.wait(20)
    file.write_text("the third one")
    quick.start()
    quick.join(0.5)
    go.set()
    slow.join(20)
    quick.join(20)
    assert password(rotated.get()) == "the third one"
