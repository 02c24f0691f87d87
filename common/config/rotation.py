"""Settings whose files are replaced while the process runs: passwords, users and client secrets in `secrets_dir`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog

from common.config.settings import Settings, load
from common.errors import ConfigurationError

_log = structlog.get_logger(__name__)

_Signature = tuple[tuple[str, int, int, int], ...]


class CurrentSettings:
    """The settings of the process, loaded again when a file of `secrets_dir` changed.

    Only what clients of other servers authenticate with is taken from them; everything else is as it was at the start.
    """

    def __init__(self, initial: Settings, load_settings: Callable[[], Settings] = load) -> None:
        self._settings = initial
        self._load = load_settings
        self._folders = [Path(path) for path in initial.secrets_dir.split(":") if path]
        self._signature = self._read_signature()

    def get(self) -> Settings:
        """Return the settings as the files are now; the last valid ones if these are invalid."""
        if not self._folders or (signature := self._read_signature()) == self._signature:
            return self._settings
        self._signature = signature
        try:
            self._settings = self._load()
        except ConfigurationError as exc:
            _log.warning("changed secrets rejected, the former ones stay in use", reason=exc.message)
        else:
            _log.info("secrets loaded again")
        return self._settings

    def _read_signature(self) -> _Signature:
        """Return name, inode, time and size of each file; files that vanish meanwhile are left out."""
        return tuple(entry for folder in self._folders for entry in _folder_signature(folder))


def _folder_signature(folder: Path) -> list[tuple[str, int, int, int]]:
    entries = []
    try:
        for path in sorted(folder.iterdir()):
            stat = path.stat()
            entries.append((str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size))
    except OSError:
        return entries
    return entries
