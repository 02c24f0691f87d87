"""Our packages do not hide Python's own, although one folder is called `operator`."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("arguments", [("-c",), ("-P", "-c")], ids=["root on the path", "safe path"])
def test_import_operator_is_standard_library(arguments: tuple[str, ...]) -> None:
    """A Python started at the repository's root imports the standard library's `operator`."""
    words = [sys.executable, *arguments, "import operator; print(operator.__file__)"]
    answer = subprocess.run(words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert Path(answer.stdout.strip()).parent == Path(sysconfig.get_path("stdlib"))


def test_only_common_and_devcluster_are_root_packages() -> None:
    """An `__init__.py` in `operator/` or `proto/` would hide the package of that name from every import."""
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == {"common", "devcluster"}
