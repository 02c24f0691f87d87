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


def test_changed_secret_file_is_reloaded(secrets: Path) -> None:
    rotated = CurrentSettings(load())
    assert password(rotated.get()) == "first"
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text("second one")
    assert password(rotated.get()) == "second one"


def test_atomic_directory_swap_is_reloaded(secrets: Path) -> None:
    """The kubelet updates a mount so: files are links into a directory behind a link, and that link is replaced."""
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


def test_invalid_file_retains_previous_settings_until_corrected(secrets: Path) -> None:
    rotated = CurrentSettings(load())
    (secrets / "SOMABRAIN_FLAGS__TIMEOUT_S").write_text("soon")
    assert password(rotated.get()) == "first"
    (secrets / "SOMABRAIN_FLAGS__TIMEOUT_S").unlink()
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text("second one")
    assert password(rotated.get()) == "second one"


def test_invalid_group_does_not_block_reload_of_other_groups(secrets: Path) -> None:
    """A mistake in one secret retains its previous value, and the log names it; other secrets are reloaded at once."""
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


def test_reloaded_settings_are_adapted(secrets: Path) -> None:
    """Reloaded settings are adapted as the initial ones were, whether or not a group is invalid."""
    rotated = CurrentSettings(load(), adapt=lambda loaded: loaded.model_copy(update={"owner_dsn": None}))
    for change in ("second one", "third one"):
        (secrets / "SOMABRAIN_OWNER_DSN").write_text(change)
        (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text(change)
        settings = rotated.get()
        assert (password(settings), settings.owner_dsn) == (change, None)
        (secrets / "SOMABRAIN_TRACE__HEADERS").write_text("invalid")


def test_change_before_first_get_is_detected(secrets: Path) -> None:
    """A secret that is rotated between the start of the process and that of its clients, as by a migration, is used."""
    initial = load()
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text("second one")
    assert password(CurrentSettings(initial).get()) == "second one"


def test_settings_are_not_reloaded_without_change(secrets: Path) -> None:
    rotated = CurrentSettings(load())
    assert rotated.get() is rotated.get()


def test_change_with_same_size_and_mtime_is_detected(secrets: Path) -> None:
    """A copy that preserves times changes only the file's ctime."""
    file = secrets / "SOMABRAIN_FLAGS__PASSWORD"
    rotated = CurrentSettings(load())
    before = file.stat()
    file.write_text("other")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert password(rotated.get()) == "other"


def test_file_listed_after_broken_symlink_is_watched(secrets: Path) -> None:
    (secrets / "A").symlink_to("nowhere")
    rotated = CurrentSettings(load())
    (secrets / "SOMABRAIN_FLAGS__PASSWORD").write_text("second one")
    assert password(rotated.get()) == "second one"


def test_unreadable_file_retains_previous_settings_until_readable(secrets: Path) -> None:
    """Failed reloads are logged once; no further change of the files is needed afterwards."""
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


def test_concurrent_reloads_retain_newer_settings(secrets: Path) -> None:
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
