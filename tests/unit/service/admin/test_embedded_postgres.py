"""Directories in which the embedded PostgreSQL would not start, or which it would damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config.settings import DatabaseSettings
from common.errors import ConfigurationError
from somabrain_service.admin.embedded_postgres import embedded_database


def refusal(directory: Path) -> str:
    with pytest.raises(ConfigurationError) as caught, embedded_database(directory, DatabaseSettings()):
        pass
    return caught.value.message


@pytest.mark.parametrize("name", ["a b", "$(id)", "a;b", "a'b", "a@b", 'a"b', "a\nb"])
def test_a_path_that_a_shell_reads_is_refused(tmp_path: Path, name: str) -> None:
    assert "choose another directory" in refusal(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    assert "longer than" in refusal(tmp_path / ("x" * 100))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_else_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("mine")
    before = tmp_path.stat()
    assert "choose an empty directory" in refusal(tmp_path)
    after = tmp_path.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "File exists" in refusal(tmp_path / "file")
    assert "Not a directory" in refusal(tmp_path / "file" / "data")
