"""The DSN of new connections follows its setting."""

from __future__ import annotations

import pytest
import structlog

from common.errors import ConfigurationError
from somabrain_service.store.postgres.driver.current_dsn import CurrentDsn
from somabrain_service.store.postgres.driver.dsn import dsn_target

FIRST = "postgresql://app:first@h/x"


def test_changed_dsn_is_used_immediately() -> None:
    now: str | None = FIRST
    dsn = CurrentDsn("postgres_dsn", "the key app-dsn", FIRST, lambda: now)
    assert dsn.get() == FIRST
    now = "postgresql://app:second@h/x"
    assert dsn.get() == now


@pytest.mark.parametrize(
    ("changed", "reason"),
    [(None, "is missing"), ("", "is empty"), ("secret", "is not a libpq URL"), ("postgresql://a:b/c@h/x", "has an @")],
)
def test_invalid_dsn_is_logged_once_and_previous_one_retained(changed: str | None, reason: str) -> None:
    """Each read returns the former DSN, one log line has the reason, and a later valid one is used."""
    now: str | None = FIRST
    dsn = CurrentDsn("worker_dsn", "the key worker-dsn", FIRST, lambda: now)
    now = changed
    with structlog.testing.capture_logs() as logs:
        assert [dsn.get(), dsn.get()] == [FIRST, FIRST]
    assert [line["event"] for line in logs] == ["changed DSN rejected, the former one stays in use"]
    assert logs[0]["reason"].startswith(f"worker_dsn: {reason}")
    now = "postgresql://app:third@h/x"
    assert dsn.get() == now


def test_invalid_initial_dsn_error_names_setting_and_key() -> None:
    with pytest.raises(ConfigurationError, match=r"worker_dsn: is empty; correct SOMABRAIN_WORKER_DSN, in a cluster"):
        CurrentDsn("worker_dsn", "the key worker-dsn", " ")


def test_dsn_target_excludes_password() -> None:
    """Another host, port, database, user or option is another target; another password is not."""
    assert dsn_target(FIRST) == dsn_target("postgresql://app:second@h/x") == dsn_target("postgresql://app@h/x")
    others = ("app@i/x", "app@h:1/x", "app@h/y", "other@h/x", "app@h/x?sslmode=require")
    assert len({dsn_target(f"postgresql://{other}") for other in ("app@h/x", *others)}) == 6
