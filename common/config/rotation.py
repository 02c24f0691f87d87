"""Settings whose files are replaced while the process runs: passwords, users and client secrets in `secrets_dir`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import structlog
from pydantic import SecretStr

from common.config.settings import InvalidValues, Settings, load, load_valid_groups
from common.errors import ConfigurationError

_log = structlog.stdlib.get_logger(__name__)

_FileSignature = tuple[str, int, int, int, int]
_Signature = tuple[_FileSignature, ...]


class CurrentSettings:
    """The settings of the process, loaded again when a file of `secrets_dir` changed. For any thread.

    Only what clients of other servers authenticate with is taken from them; everything else is as it was at the start.
    A group of settings that is invalid is as it was before; the other groups follow their files.
    """

    def __init__(
        self,
        initial: Settings,
        load_settings: Callable[[], Settings] = load,
        adapt: Callable[[Settings], Settings] | None = None,
    ) -> None:
        """Begin with the settings of the start.

        Args:
            initial: these settings.
            load_settings: loads them again.
            adapt: returns loaded settings as this process uses them; None: unchanged.
        """
        self._settings = initial
        self._load = load_settings
        self._adapt = adapt or (lambda settings: settings)
        self._folders = [Path(path) for path in initial.secrets_dir.split(":") if path]
        # The first call reads the files again: they may have changed since `initial` was loaded, as during a migration.
        self._signature: _Signature | None = None
        self._failure = ""
        # The event loop and threads of Kafka ask: the one that began to load first must not be the last to assign.
        self._lock = threading.Lock()

    def get(self) -> Settings:
        """Return the settings as the files are now; the last valid ones if these are invalid or cannot be read."""
        if not self._folders:
            return self._settings
        with self._lock:
            # Taken before the files are read: a change in between is noticed by the next call.
            signature = self._read_signature()
            if signature != self._signature:
                self._signature = signature if self._load_again() else None
            return self._settings

    def _load_again(self) -> bool:
        """Load the settings if they are valid; return whether the files could be read."""
        former = self._settings
        try:
            self._settings = self._adapt(self._load())
        except InvalidValues as exc:
            _log.warning("changed secrets rejected, the former ones stay in use", reason=exc.message)
            self._load_valid_groups()
        except ConfigurationError as exc:
            _log.warning("changed secrets rejected, the former ones stay in use", reason=exc.message)
        except OSError as exc:
            # The next call tries again, as the file may be there or readable by then; each failure is logged once.
            if (failure := f"{exc.filename or 'secrets_dir'}: {exc.strerror or exc}") != self._failure:
                _log.warning("changed secrets cannot be read, the former ones stay in use", reason=failure)
            self._failure = failure
            return False
        if self._settings != former:
            _log.info("secrets loaded again")
        self._failure = ""
        return True

    def _load_valid_groups(self) -> None:
        try:
            self._settings = self._adapt(load_valid_groups(self._settings))
        except ConfigurationError as exc:
            _log.warning("no changed secret is used", reason=exc.message)

    def _read_signature(self) -> _Signature:
        """Return name, inode, size and times of each file; files that vanish meanwhile are left out."""
        return tuple(entry for folder in self._folders for entry in _folder_signature(folder))


def secret_value(secret: SecretStr | None) -> str | None:
    """Return a secret's value; None: it is not set."""
    return None if secret is None else secret.get_secret_value()


def _folder_signature(folder: Path) -> list[_FileSignature]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    return [signature for path in paths if (signature := _file_signature(path)) is not None]


def _file_signature(path: Path) -> _FileSignature | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    # The time of the last change of its status, too: one of its mode or owner changes nothing else.
    return str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
