"""Paths and options from the environment; no other module reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalPaths:
    """Folders of this user and this checkout."""

    cache: Path
    """Binaries, images, toolchains: safe to delete, expensive to rebuild."""
    state: Path
    """Keys, data and logs of the running cluster; deleted by `down`."""
    checkout: Path
    """Root of the repository."""

    @property
    def bin(self) -> Path:
        """Folder of links to all built binaries."""
        return self.cache / "bin"

    @property
    def on_overlay(self) -> bool:
        """True if the cache is on an overlay file system, on which no other overlay can be mounted."""
        above = [folder for folder in (self.cache, *self.cache.parents) if folder.exists()]
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        kinds = {mount[1]: mount[2] for mount in mounts}
        return next(kinds[str(folder)] for folder in above if str(folder) in kinds) == "overlay"


def local_paths() -> LocalPaths:
    """Return the folders according to the XDG Base Directory Specification."""
    home = Path.home()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    state = Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state")
    checkout = Path(__file__).resolve().parents[1]
    return LocalPaths(cache / "somabrain", state / "somabrain" / "cluster", checkout)


def chosen_provider() -> str | None:
    """Return the provider named in CLUSTER (kind or native), or None to choose automatically."""
    return os.environ.get("CLUSTER") or None


def requested_node_image() -> str | None:
    """Return the node image of kind that is named in KIND_NODE, or None for the pinned one."""
    return os.environ.get("KIND_NODE") or None


def inherited(**extra: str) -> dict[str, str]:
    """Return this process's environment, overridden by `extra`."""
    return {**os.environ, **extra}


def package_index() -> Mapping[str, str]:
    """Return the host's package and crate indexes and proxy variables, for image builds."""
    names = ("PIP_INDEX_URL", "CARGO_INDEX", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return {name: os.environ[name] for name in names if os.environ.get(name)}
