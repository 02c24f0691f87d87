"""Holds: an image is made again exactly when a file it is made of has changed."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from somabrain_local.images.inputs import copied_paths, fingerprint

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder `code` with one module, and a file beside it."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("a = 1\n")
    (tmp_path / "other").write_text("")
    return tmp_path


def test_copied_paths_are_those_from_the_context() -> None:
    """Copies between stages are no inputs; options are no paths."""
    dockerfile = "FROM x\nCOPY --chown=1:1 a.txt b/ /to/\nRUN true\nCOPY --from=build /c /c\nCOPY a.txt d ./\n"
    assert copied_paths(dockerfile) == ["a.txt", "b/", "d"]


def test_an_edit_changes_the_fingerprint(tree: Path) -> None:
    """Contents, names, executable bits and the extra words all count."""
    seen = {fingerprint(tree, ["code"]), fingerprint(tree, ["code"], "v2"), fingerprint(tree, ["code", "other"])}
    (tree / "code" / "a.py").chmod(0o755)
    seen.add(fingerprint(tree, ["code"]))
    (tree / "code" / "a.py").write_text("a = 2\n")
    seen.add(fingerprint(tree, ["code"]))
    (tree / "code" / "a.py").rename(tree / "code" / "b.py")
    seen.add(fingerprint(tree, ["code"]))
    assert len(seen) == 6


def test_compiled_python_and_other_files_do_not_count(tree: Path) -> None:
    """Running the code is no reason to build again, and neither is what the image does not copy."""
    before = fingerprint(tree, ["code"])
    (tree / "code" / "__pycache__").mkdir()
    (tree / "code" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"\0")
    (tree / "other").write_text("changed")
    assert fingerprint(tree, ["code"]) == before


def test_a_missing_input_is_named(tree: Path) -> None:
    """A path that a Dockerfile copies and nobody has made is an error, not an empty set."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fingerprint(tree, ["nowhere"])


@pytest.mark.parametrize("role", ["service", "operator"])
def test_the_ignore_file_lets_through_what_the_dockerfiles_copy(role: str) -> None:
    """The ignore file is a list of what may enter; a Dockerfile that copies more would fail only in the build."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for path in copied_paths((ROOT / f"Dockerfile.{role}").read_text()):
        assert any(fnmatch(path.split("/")[0], name) for name in allowed), path
        assert (ROOT / path).exists()
