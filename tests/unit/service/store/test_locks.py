"""Advisory locks have distinct keys, which are the same in versions that run side by side."""

from __future__ import annotations

from uuid import UUID

from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.store.postgres.driver import locks

# As version 0.1 computed them.
RELAY = 2067152541
QUOTA = 1029988781189528440
SESSION = 7599864992149843305
TENANT = TenantId(UUID("00000000-0000-4000-8000-000000000001"))


def test_job_lock_keys_are_distinct() -> None:
    """Keys are distinct, and within the range of PostgreSQL's integer."""
    keys = {locks.job_key(f"job-{i}") for i in range(1000)}
    assert len(keys) == 1000
    assert all(-(2**31) <= key < 2**31 for key in keys)


def test_lock_keys_match_previous_version() -> None:
    """Another key would let two versions write at once during a rollout."""
    assert locks.job_key("relay") == RELAY
    assert locks.quota_key(TENANT) == QUOTA
    assert locks.session_key(TENANT, NamespaceName("notes"), "monday") == SESSION
    assert locks.ADMIN == 0x504D4142
