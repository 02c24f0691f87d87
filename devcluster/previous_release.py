"""Installation of the previous version in its own environment, for tests of upgrades and of old clients.

Its commit is named in tests/PREVIOUS. The whole tree is taken from this clone's history and installed with its own
locked requirements.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from devcluster import shell
from devcluster.environment import LocalPaths
from devcluster.errors import CommandFailed, LocalError
from devcluster.progress import Progress


@dataclass(frozen=True, slots=True)
class PreviousRelease:
    """Checkout of the previous version, and the Python it is installed in."""

    checkout: Path
    commit: str

    @property
    def python(self) -> Path:
        """Interpreter that imports the previous version."""
        return self.checkout / ".venv" / "bin" / "python"

    @property
    def schema(self) -> int:
        """Number of the database schema that the previous version migrates to."""
        return int(shell.run([self.python, "-c", "from somabrain_service.store import schema; print(schema.HEAD)"]))


def ensure(paths: LocalPaths, progress: Progress) -> PreviousRelease:
    """Install the previous version unless it is installed already.

    Raises:
        LocalError: the clone lacks its commit, or its tree is the same as the current one.
    """
    commit = (paths.checkout / "tests" / "PREVIOUS").read_text().strip()
    if _resolve(paths, f"{commit}^{{tree}}") == _resolve(paths, "HEAD^{tree}"):
        raise LocalError(f"tests/PREVIOUS names {commit}, which is the current version: name an earlier one.")
    return install(paths, progress, commit)


def install(paths: LocalPaths, progress: Progress, revision: str) -> PreviousRelease:
    """Install another revision of this clone, a commit, tag or branch, unless it is installed already.

    Raises:
        LocalError: the clone lacks it.
    """
    commit, tree = _resolve(paths, f"{revision}^{{commit}}"), _resolve(paths, f"{revision}^{{tree}}")
    previous = PreviousRelease(paths.cache / "previous" / tree, commit)
    with shell.locked(paths.cache / "locks" / "previous"):
        if not previous.python.exists():
            with progress.step(f"Install the previous version, {commit[:7]}"):
                _install(previous, paths)
    return previous


def _resolve(paths: LocalPaths, revision: str) -> str:
    try:
        return shell.run(["git", "-C", paths.checkout, "rev-parse", "--verify", revision]).strip()
    except CommandFailed as error:
        raise LocalError(f"This clone lacks {revision}: run `git fetch --unshallow`, or correct it.") from error


def _install(previous: PreviousRelease, paths: LocalPaths) -> None:
    draft = previous.checkout.with_name(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(previous.checkout, ignore_errors=True)
    draft.mkdir(parents=True)
    archive = draft / "archive.tar"
    shell.run(["git", "-C", paths.checkout, "archive", "--output", archive, previous.commit])
    shell.run(["tar", "-xf", archive, "-C", draft])
    archive.unlink()
    draft.rename(previous.checkout)  # before the installation: a virtual environment contains its own path
    uv, venv = paths.checkout / ".venv" / "bin" / "uv", previous.checkout / ".venv"
    log = paths.cache / "log" / "previous.log"
    try:
        shell.run([uv, "venv", "--quiet", venv], log=log)
        into = [uv, "pip", "install", "--quiet", "--python", venv / "bin" / "python"]
        shell.run([*into, "--require-hashes", "-r", previous.checkout / "requirements" / "dev.txt"], log=log)
        build_kernel = previous.checkout / "kernel" / "build_wheel.sh"
        if build_kernel.exists():  # the versions up to 0.2.0 have no native kernel
            wheel = shell.run([build_kernel, venv / "bin" / "maturin", paths.cache / "kernel"]).strip()
            shell.run([*into, "--no-deps", wheel], log=log)
        shell.run([*into, "--no-deps", "--no-build-isolation", "--editable", previous.checkout], log=log)
    except BaseException:
        shutil.rmtree(venv, ignore_errors=True)
        raise
