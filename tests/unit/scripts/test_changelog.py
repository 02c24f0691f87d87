"""Fragments of the changelog are checked, and folded into the section of their version."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "scripts" / "changelog.py"
BEFORE = """# Changelog

## [1.1.0]

### New
- Old entry.

### Fixed
- Old fix.

## [1.0.0]

### New
- Everything.
"""


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the program in a tree of its own."""
    scripts = tree / "scripts"
    scripts.mkdir(exist_ok=True)
    (scripts / PROGRAM.name).write_text(PROGRAM.read_text())
    argv = [sys.executable, str(scripts / PROGRAM.name), *arguments]
    return subprocess.run(argv, check=False, capture_output=True, text=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "CHANGELOG.md").write_text(BEFORE)
    return tmp_path


def write(tree: Path, name: str, text: str) -> None:
    (tree / "changelog.d" / name).write_text(text)


def test_fold_adds_fragments_to_version_section(tree: Path) -> None:
    """Each fragment becomes an item under its heading, in the order of the kinds, and its file is deleted."""
    write(tree, "a.new.md", "A new\nthing.\n")
    write(tree, "b.upgrade.md", "Do this.\n")
    write(tree, "c.faster.md", "word " * 30 + "end.\n")
    assert run(tree, "fold", "1.1.0").returncode == 0
    wrapped = "- " + "word " * 22 + "word\n  " + "word " * 7 + "end."
    assert (
        (tree / "CHANGELOG.md").read_text()
        == f"""# Changelog

## [1.1.0]

### Before you upgrade
- Do this.

### New
- Old entry.
- A new thing.

### Faster
{wrapped}

### Fixed
- Old fix.

## [1.0.0]

### New
- Everything.
"""
    )
    assert not list((tree / "changelog.d").iterdir())


def test_fold_adds_section_for_new_version(tree: Path) -> None:
    write(tree, "a.fixed.md", "Repaired.\n")
    assert run(tree, "fold", "1.2.0").returncode == 0
    assert (tree / "CHANGELOG.md").read_text() == BEFORE.replace(
        "## [1.1.0]", "## [1.2.0]\n\n### Fixed\n- Repaired.\n\n## [1.1.0]"
    )


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.added.md", "Text.", "KIND is one of"),
        ("A b.new.md", "Text.", "name it WORDS.KIND.md"),
        ("a.new.md", "- Text.", "one paragraph"),
        ("a.new.md", "One.\n\nTwo.", "one paragraph"),
        ("a.new.md", "", "one paragraph"),
        ("a.new.md", "no end", "sentences"),
        ("a.new.md", "x" * 600 + ".", "at most 600"),
    ],
)
def test_malformed_fragment_is_rejected_without_writing(tree: Path, name: str, text: str, fault: str) -> None:
    write(tree, name, text)
    ended = run(tree, "fold", "1.1.0")
    assert ended.returncode == 1
    assert fault in ended.stdout
    assert (tree / "CHANGELOG.md").read_text() == BEFORE
    assert (tree / "changelog.d" / name).exists()
