"""The DSN that connections are opened with: it follows its setting, whose file is replaced while the process runs."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from common.errors import ConfigurationError
from somabrain_service.store.postgres.driver.dsn import Target, dsn_target, validate_dsn

FOLLOW_INTERVAL_S = 1.0
"""Seconds between reads of the setting while connections are reused; one that is opened reads it at once."""

_log = structlog.stdlib.get_logger(__name__)


class CurrentDsn:
    """A role's DSN as it is now. A new one that is invalid is logged, and the former one stays in use."""

    def __init__(self, setting: str, key: str, initial: str, current: Callable[[], str | None] | None = None) -> None:
        """Check the DSN.

        Args:
            setting: name of the setting, for messages.
            key: name of its key in a cluster's Secret, for messages.
            initial: the DSN at the start.
            current: returns the setting as it is now, None if it is missing; None: it never changes.

        Raises:
            ConfigurationError: `initial` is invalid; the message repeats no part of it.
        """
        self._setting, self._current = setting, current or (lambda: initial)
        if problem := validate_dsn(initial):
            raise ConfigurationError(f"{setting}: {problem}; correct SOMABRAIN_{setting.upper()}, in a cluster {key}.")
        self._dsn, self._target = initial, dsn_target(initial)
        self._rejected: str | None = initial
        self._read_at = float("-inf")

    def get(self) -> str:
        """Return the DSN as its setting is now."""
        self._read_at = time.monotonic()
        dsn = self._current()
        if dsn == self._dsn:
            self._rejected = dsn
        elif dsn != self._rejected:
            self._follow(dsn)
        return self._dsn

    def target(self) -> Target:
        """Return the server, database and role of the DSN as its setting was within `FOLLOW_INTERVAL_S`."""
        if time.monotonic() >= self._read_at + FOLLOW_INTERVAL_S:
            self.get()
        return self._target

    def _follow(self, dsn: str | None) -> None:
        self._rejected = dsn
        problem = "is missing" if dsn is None else validate_dsn(dsn)
        if dsn is None or problem:
            _log.warning("changed DSN rejected, the former one stays in use", reason=f"{self._setting}: {problem}")
            return
        self._dsn, self._target = dsn, dsn_target(dsn)
        _log.info("DSN loaded again", setting=self._setting)
