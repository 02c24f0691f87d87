"""Environment of the other systems, installed from the locked requirements in this folder."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from devcluster import shell
from devcluster.environment import LocalPaths
from devcluster.errors import CommandFailed, LocalError
from devcluster.progress import Progress

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def install(paths: LocalPaths, progress: Progress) -> Path:
    """Install the locked packages unless they are installed already, and return the folder of the programs.

    Raises:
        LocalError: a package could not be downloaded or installed.
    """
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    folder = paths.cache / "peers" / digest
    installed = folder / "installed"
    with shell.locked(paths.cache / "locks" / "peers"):
        if not installed.exists():
            with progress.step("Install chroma and mem0"):
                try:
                    _install(folder, paths)
                except CommandFailed as error:
                    raise LocalError(
                        "chroma and mem0 could not be installed; bench-peers needs the Python package index, with the"
                        f" versions that bench/peers/requirements.txt names.\n{error}"
                    ) from error
            installed.touch()
    return folder / ".venv" / "bin"


def _install(folder: Path, paths: LocalPaths) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    uv, venv = paths.checkout / ".venv" / "bin" / "uv", folder / ".venv"
    # In `folder`, because in the checkout uv would apply pyproject.toml's table [tool.uv] to these packages too.
    shell.run([uv, "venv", "--quiet", "--python", sys.executable, venv], cwd=folder)
    into = [uv, "pip", "install", "--quiet", "--python", venv / "bin" / "python", "--require-hashes"]
    shell.run([*into, "-r", REQUIREMENTS], cwd=folder)
