"""devcluster/README.md agrees with the code: commands, exit statuses, environment and imports."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from devcluster.__main__ import SIMPLE_COMMANDS, parser

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "devcluster"
README = (PACKAGE / "README.md").read_text()


def section(heading: str) -> str:
    """Return the text below a heading of the page."""
    return README.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as documented, without site packages."""
    argv = [sys.executable, "-S", "-m", "devcluster", *arguments]
    return subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **environment}
    )


def test_readme_lists_every_command() -> None:
    """The table of commands is that of the parser, options included."""
    written = {
        row.split()[0].strip("`"): set(re.findall(r"--[a-z-]+", row))
        for row in re.findall(r"^\| (`[^|]+`) \|", section("Commands"), re.MULTILINE)
    }
    (commands,) = (action for action in parser()._actions if isinstance(action.choices, dict))
    parsed = {
        name: {option for each in sub._actions for option in each.option_strings} - {"-h", "--help"}
        for name, sub in dict(commands.choices or {}).items()
    }
    assert set(SIMPLE_COMMANDS) < set(parsed)
    assert written == parsed


def test_readme_lists_every_environment_variable() -> None:
    """The variables of the page are the ones that environment.py names."""
    written = set(re.findall(r"`([A-Z_]{6,})`", section("Environment")))
    tree = ast.parse((PACKAGE / "environment.py").read_text())
    named = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and re.fullmatch(r"[A-Z_]{6,}", str(node.value))
    }
    assert written == named


def test_only_standard_library_is_imported() -> None:
    """The package runs before anything is installed: every import is the standard library's or its own."""
    foreign = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    modules = [alias.name for alias in names]
                case ast.ImportFrom(module=str(module)):
                    modules = [module]
                case _:
                    continue
            foreign |= {(path.name, each) for each in modules if each.partition(".")[0] not in allowed_packages()}
    assert not foreign


def allowed_packages() -> set[str]:
    """Return the packages that may be imported."""
    return {*sys.stdlib_module_names, "devcluster"}


def test_help_works_without_installed_packages() -> None:
    """`--help` names every command, and exits with 0."""
    ended = run("--help")
    assert ended.returncode == 0, ended.stderr
    assert all(command in ended.stdout for command in SIMPLE_COMMANDS)


@pytest.mark.parametrize("arguments", [("destroy",), ("up", "--fast"), ()])
def test_invalid_command_line_exits_with_2(arguments: tuple[str, ...]) -> None:
    """The usage is on standard error, and nothing on standard output."""
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "usage: devcluster" in ended.stderr


def test_failure_exits_with_1_and_names_remedy(tmp_path: Path) -> None:
    """An unknown provider is rejected by name, before any build."""
    ended = run("status", CLUSTER="minikube", HOME=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "devcluster: CLUSTER=minikube is unknown: use kind or native, or leave it out.\n"


def test_status_reports_absent_cluster_in_one_line(tmp_path: Path) -> None:
    """`status` needs no cluster, builds nothing and exits with 0."""
    ended = run("status", CLUSTER="native", HOME=str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    assert ended.stdout.endswith(".\n")
