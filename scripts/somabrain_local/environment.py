"""The only reader of the environment: where things live, and what was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalPaths:
    """The folders of this user and this checkout."""

    cache: Path
    """Binaries, images, toolchains: safe to delete, costly to make."""
    state: Path
    """The running cluster: its keys, data and logs; `down` deletes it."""
    checkout: Path
    """The root of the repository."""

    @property
    def bin(self) -> Path:
        """Where every finished binary is linked."""
        return self.cache / "bin"

    @property
    def on_overlay(self) -> bool:
        """Whether the cache is itself on an overlay, on which none can be mounted."""
        above = [folder for folder in (self.cache, *self.cache.parents) if folder.exists()]
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        kinds = {mount[1]: mount[2] for mount in mounts}
        return next(kinds[str(folder)] for folder in above if str(folder) in kinds) == "overlay"


def local_paths() -> LocalPaths:
    """Return the folders by the XDG base directory rules."""
    home = Path.home()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    state = Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state")
    checkout = Path(__file__).resolve().parents[2]
    return LocalPaths(cache / "somabrain", state / "somabrain" / "cluster", checkout)


def chosen_provider() -> str | None:
    """Return what CLUSTER asks for: kind, native, or None for whichever works."""
    return os.environ.get("CLUSTER") or None


def inherited(**extra: str) -> dict[str, str]:
    """Return this process's environment with `extra` set over it."""
    return {**os.environ, **extra}


def package_index() -> Mapping[str, str]:
    """Return the host's own package index and proxy, for image builds."""
    names = ("PIP_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return {name: os.environ[name] for name in names if os.environ.get(name)}
