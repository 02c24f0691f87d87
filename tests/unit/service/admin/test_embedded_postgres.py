"""Directories are rejected in which the embedded PostgreSQL would not start, or which it would damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config.settings import DatabaseSettings
from common.errors import ConfigurationError
from somabrain_service.admin.embedded_postgres import embedded_database


def startup_error(directory: Path) -> str:
    with pytest.raises(ConfigurationError) as caught, embedded_database(directory, DatabaseSettings()):
        pass
    return caught.value.message


@pytest.mark.parametrize("name", ["a b", "$(id)", "a;b", "a'b", "a@b", 'a"b', "a\nb"])
def test_path_with_shell_characters_is_rejected(tmp_path: Path, name: str) -> None:
    assert "choose another directory" in startup_error(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_path_too_long_for_socket_is_rejected(tmp_path: Path) -> None:
    assert "longer than" in startup_error(tmp_path / ("x" * 100))
    assert not list(tmp_path.iterdir())


def test_directory_with_other_files_is_rejected_unchanged(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("mine")
    before = tmp_path.stat()
    assert "choose an empty directory" in startup_error(tmp_path)
    after = tmp_path.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_path_of_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "File exists" in startup_error(tmp_path / "file")
    assert "Not a directory" in startup_error(tmp_path / "file" / "data")
