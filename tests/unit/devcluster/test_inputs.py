"""An image is rebuilt exactly when a file among its inputs has changed."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from devcluster.images.inputs import copied_paths, fingerprint

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder `code` with one module, and a file beside it."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("a = 1\n")
    (tmp_path / "other").write_text("")
    return tmp_path


def test_copied_paths_come_from_build_context() -> None:
    """Inputs are the paths copied from the build context: not copies between stages, and not options."""
    dockerfile = "FROM x\nCOPY --chown=1:1 a.txt b/ /to/\nRUN true\nCOPY --from=build /c /c\nCOPY a.txt d ./\n"
    assert copied_paths(dockerfile) == ["a.txt", "b/", "d"]


def test_edit_changes_fingerprint(tree: Path) -> None:
    """Contents, names, executable bits and the extra arguments all change the fingerprint."""
    fingerprints = {
        fingerprint(tree, ["code"]),
        fingerprint(tree, ["code"], "v2"),
        fingerprint(tree, ["code", "other"]),
    }
    (tree / "code" / "a.py").chmod(0o755)
    fingerprints.add(fingerprint(tree, ["code"]))
    (tree / "code" / "a.py").write_text("a = 2\n")
    fingerprints.add(fingerprint(tree, ["code"]))
    (tree / "code" / "a.py").rename(tree / "code" / "b.py")
    fingerprints.add(fingerprint(tree, ["code"]))
    assert len(fingerprints) == 6


def test_fingerprint_ignores_bytecode_and_unrelated_files(tree: Path) -> None:
    """Neither .pyc files nor files that the image does not copy cause a rebuild."""
    before = fingerprint(tree, ["code"])
    (tree / "code" / "__pycache__").mkdir()
    (tree / "code" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"\0")
    (tree / "other").write_text("changed")
    assert fingerprint(tree, ["code"]) == before


def test_missing_input_error_names_path(tree: Path) -> None:
    """A path that a Dockerfile copies and that does not exist is an error that names it."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fingerprint(tree, ["nowhere"])


@pytest.mark.parametrize("role", ["service", "operator"])
def test_dockerignore_allows_paths_that_dockerfiles_copy(role: str) -> None:
    """.dockerignore, which is a list of allowed paths, allows everything that the Dockerfiles copy."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for path in copied_paths((ROOT / f"Dockerfile.{role}").read_text()):
        assert any(fnmatch(path.split("/")[0], name) for name in allowed), path
        assert (ROOT / path).exists()
